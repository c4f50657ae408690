"""From many overlapping candidates to detections: suppression, voting, fusion with video-level classes."""

from tal.suppression.config import SuppressionConfig
from tal.suppression.fusion import FusionRule, fuse_video_scores
from tal.suppression.suppress import suppress

__all__ = ["FusionRule", "SuppressionConfig", "fuse_video_scores", "suppress"]
