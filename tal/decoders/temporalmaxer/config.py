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
    """TemporalMaxer: no stem, max-pools for blocks.

    The released level norm is a group norm on THUMOS-14 and EPIC nouns, a channel norm elsewhere. With
    ``shared_norm`` it is one instance for all levels, which the released code makes by mistake.
    """

    name: Literal["temporalmaxer"] = "temporalmaxer"
    stem_layers: int = Field(0, ge=0, le=0)
    shared_norm: bool = False
