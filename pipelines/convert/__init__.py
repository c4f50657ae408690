"""Released checkpoints of other code bases into model folders."""
