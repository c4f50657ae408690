"""One file a format: how it is read and written."""
