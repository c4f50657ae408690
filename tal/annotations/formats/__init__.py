"""One file a format: how it is told from others, read and written; ``registry`` lists them."""
