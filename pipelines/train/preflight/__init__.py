"""What is looked at before a run's first step, and before an extraction that it starts."""

from pipelines.train.preflight.run import Ready, make_ready, with_rows

__all__ = ["Ready", "make_ready", "with_rows"]
