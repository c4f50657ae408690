"""What the anchor-free pyramid decoders are composed of: backbone, heads, assignment, losses."""
