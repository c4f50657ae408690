"""Pictures of detections: `timeline` draws one video's, beside its ground truth where there is one."""

from tal.plot.timeline import timeline

__all__ = ["timeline"]
