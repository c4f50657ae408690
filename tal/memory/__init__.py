"""The training window: which clips are encoded now, and how their rows meet the stored ones."""
