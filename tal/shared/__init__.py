"""What several parts of tal need: files, weights, defaults."""
