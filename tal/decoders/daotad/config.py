"""Settings of the DaoTAD decoder; lengths and places are in grid units (positions of the input)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tal.config import Config
from tal.decoders.layers.norms import NormKind


class DaoTADConfig(Config):
    """Anchors on a feature pyramid (TALLFormer for THUMOS14; the defaults are its release's values)."""

    name: Literal["daotad"] = "daotad"
    pyramid: Literal["attention", "conv"] = Field(
        "attention", description="attention: TALLFormer's release; conv: DaoTAD's strided convolutions"
    )
    release: bool = Field(
        False,
        description="pyramid: conv as TALLFormer's release trains it: batch norms gather no statistics, "
        "convolutions start as Kaiming's normal ones",
    )
    channels: int = Field(512, gt=0, description="channels of the levels above the first")
    num_levels: int = Field(5, ge=1, le=24)
    attention_widths: tuple[int, ...] = Field(
        (7, 7, 5, 5),
        description="positions seen by the local attention of levels 1, 2, …; the last one repeats",
    )
    num_heads: int = Field(8, gt=0)
    mlp_channels: int = Field(2048, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    fpn_channels: int = Field(256, gt=0)
    norm: NormKind = Field("group", description="release: sync_batch, whose statistics need large batches")
    head_layers: int = Field(4, ge=0, le=100)

    anchor_scale: float = Field(2.0, gt=0, description="shortest anchor, in strides of its level")
    anchors_per_position: int = Field(5, gt=0, description="lengths spread evenly over one octave")
    anchor_position: Literal["left", "middle"] = Field(
        "left", description="centre on the first position of a cell (release) or on the middle of the cell"
    )
    positive_iou: float = Field(0.6, ge=0, le=1)
    negative_iou: float = Field(0.4, ge=0, le=1)

    prior: float = Field(0.01, gt=0, lt=1, description="class probability of every anchor at the start")
    regression_weight: float = 1.0
    candidates_per_level: int = Field(1000, gt=0, description="anchors of a level kept, by best class score")
    min_score: float = Field(0.005, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> DaoTADConfig:
        if self.negative_iou > self.positive_iou:
            raise ValueError(
                f"negative_iou ({self.negative_iou}) must not exceed positive_iou ({self.positive_iou})"
            )
        if self.release and self.pyramid != "conv":
            raise ValueError("release: true is for pyramid: conv; the other is the release's as it is")
        if self.pyramid == "attention" and self.channels % self.num_heads:
            raise ValueError(f"channels ({self.channels}) must be a multiple of num_heads ({self.num_heads})")
        if not self.attention_widths or any(width < 1 or width % 2 == 0 for width in self.attention_widths):
            raise ValueError(f"attention_widths must be odd numbers, got {self.attention_widths}")
        return self

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Attention band of each merged level."""
        widths = self.attention_widths
        return tuple(widths[min(level, len(widths) - 1)] for level in range(self.num_levels - 1))
