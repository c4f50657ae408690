"""What several parts of tal need: files, documents, weights, defaults."""
