"""Which videos a command is about: their ids, files and annotations."""
