"""Windows of long videos: which clips are encoded now, and how their rows meet the stored ones."""
