"""Configuration of TemporalMaxer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tal.decoders.pyramid.config import PyramidConfig


class SimOtaConfig(PyramidConfig):
    """Costs of `tal.decoders.pyramid.assign.assign_sim_ota`."""

    ota_class_weight: float = 1.0
    ota_iou_weight: float = 2.0
    ota_keep_share: float = Field(1.0, gt=0, le=1)
    ota_confused_weight: float = Field(0.0, ge=0)


class TemporalMaxerConfig(SimOtaConfig):
    """``neck_norm`` group: over time and a quarter of the channels, without scale; as released for THUMOS-14.

    ``shared_norm``: one instance for all levels, what the released code does to a channel norm.
    """

    name: Literal["temporalmaxer"] = "temporalmaxer"
    stem_layers: int = Field(0, ge=0, le=0)
    neck_norm: Literal["channel", "group", "none"] = "channel"
    neck_groups: int = Field(4, ge=1)
    shared_norm: bool = False
