"""Settings of the AFSD decoder; lengths and positions are in grid units (positions of the input features)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tal.config import Config
from tal.decoders.layers.norms import NormKind


class AFSDConfig(Config):
    """Anchor-free coarse and refined segments; the defaults are TALLFormer's release for ActivityNet."""

    name: Literal["afsd"] = "afsd"
    channels: int = Field(512, gt=0, multiple_of=2, description="of the pyramid, the FPN and the heads")
    norm: NormKind = "group"
    release: bool = Field(
        False,
        description="as TALLFormer's release where longtal does otherwise: fine intervals half a cell on, "
        "gradient through the target of the quality, biases before norms",
    )
    regression_ranges: tuple[tuple[float, float], ...] = Field(
        ((0, 3.75), (1.875, 7.5), (3.75, 15), (7.5, 30), (12, 10000), (32, 10000)),
        description="a level answers for segments whose farther end is more than the first and at most the "
        "second value away (release: [0,30] [15,60] [30,120] [60,240] [96,768] [256,768] frames, 8 each)",
    )
    upsample: int = Field(8, ge=1, description="positions of the fine features for one input position")

    start_end_weight: float = Field(
        1.0, ge=0, description="supervision of the boundary features; 0 switches it off"
    )
    localization_weight: float = Field(1.0, ge=0, description="AFSD itself: 10")
    prior: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="chance of an action at every location at the start; 0: every class alike, as published",
    )

    labels: Literal["video", "segment"] = Field(
        "video",
        description="video: segments are action or background and take the classes of a video-level "
        "classifier (one action class a video, as in ActivityNet); segment: each is classified by itself",
    )
    video_channels: int = Field(
        0,
        ge=0,
        description="channels of the encoder features given to the video classifier; 0: it reads the input",
    )
    video_dropout: float = Field(0.5, ge=0, lt=1)
    video_loss: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="release: cross_entropy; the paper says focal"
    )
    top_labels: int = Field(2, ge=1, description="classes a segment is reported with; release: 2, HACS 1")
    min_score: float = Field(1e-4, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> AFSDConfig:
        if not self.regression_ranges or any(low < 0 or low >= high for low, high in self.regression_ranges):
            raise ValueError(f"regression_ranges must be (lower, higher) pairs, got {self.regression_ranges}")
        if self.labels == "segment" and self.video_channels:
            raise ValueError("video_channels needs labels=video: there is no video classifier otherwise")
        return self

    @property
    def num_levels(self) -> int:
        return len(self.regression_ranges)
