"""Detection in new videos, with results in the formats of other tools."""
