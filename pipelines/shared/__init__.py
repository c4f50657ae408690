"""Parts that several commands share: console, files, provenance, names inside a run folder."""
