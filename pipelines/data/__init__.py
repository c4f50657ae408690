"""The videos of a command: their ids, files and annotations; checks and re-encoding."""
