"""Configuration that TriDet and CLTDR-GMG share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tal.decoders.pyramid.config import PyramidConfig


class TridentConfig(PyramidConfig):
    """`PyramidConfig` and the trident head; without ``trident`` the offset head gives the distances."""

    trident: bool = True
    num_bins: int = Field(16, ge=1, description="farthest boundary, in strides of the level")
    boundary_kernel: int = Field(3, ge=1)
    boundary_input: Literal["detached", "pyramid", "regression"] = Field(
        "detached", description="maps of the start and end heads; detached: without gradient to the pyramid"
    )
    iou_weight_power: float = Field(
        0.2, ge=0, description="classification loss of positives times IoU to this power"
    )
    iou_weight_gradient: bool = Field(False, description="that factor teaches the distances too (releases)")
    downsampling: Literal["max", "avg"] = "max"
    mlp_dim: int = Field(768, ge=1, description="hidden width of a block's feed-forward part")
    norm_groups: int = Field(16, ge=1)
