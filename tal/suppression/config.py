"""Configuration of suppression: what becomes of overlapping candidates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tal.config import Config


class SuppressionConfig(Config):
    """``soft_nms``: Gaussian, lowers scores; ``nms``: removes; ``nmw``: merges, weighted by score x IoU."""

    method: Literal["soft_nms", "nms", "nmw", "none"] = "soft_nms"
    sigma: float = Field(0.5, gt=0, description="soft_nms: a score is multiplied by exp(-IoU^2 / sigma)")
    iou_threshold: float = Field(0.5, ge=0, le=1, description="nms, nmw: overlap from which two are one")
    min_score: float = Field(0.001, ge=0, description="candidates whose score falls below are dropped")
    max_segments: int = Field(200, ge=0, description="best detections kept per video; 0: all")
    multiclass: bool = Field(True, description="each class by itself; false: all labels compete")
    voting_threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        description="overlap from which raw candidates vote on a detection's place; 0: no voting",
    )
    voting_weight: Literal["score", "score_iou"] = Field("score", description="weight of a vote")
    voting_per_class: bool = Field(
        False,
        description="vote within each class too; false: only when all labels compete, as the releases do",
    )
