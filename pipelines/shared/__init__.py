"""What several commands need: console, files, provenance, names inside a run folder."""
