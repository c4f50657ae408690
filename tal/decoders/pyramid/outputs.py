"""What a pyramid decoder computes for a batch, from the pyramid to the heads' outputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pyramid:
    """One tensor a level, finest first: ``maps`` [B, D, T_l] after the neck, ``masks`` bool [B, 1, T_l].

    ``class_maps``, ``offset_maps``, ``boundary_maps`` and ``refine_maps`` are what each head looks at;
    ``backbone`` and ``backbone_masks`` are the maps before the neck, of all levels.
    """

    backbone: list[Tensor]
    backbone_masks: list[Tensor]
    maps: list[Tensor]
    masks: list[Tensor]
    class_maps: list[Tensor]
    offset_maps: list[Tensor]
    boundary_maps: list[Tensor]
    refine_maps: list[Tensor] | None


@dataclass(frozen=True)
class PyramidOutput:
    """Per level, finest first. ``length``: positions of the input; the maps may be padded beyond it.

    ``logits`` [B, C, T_l]; ``offsets`` [B, 2, T_l] distances in strides, or [B, 2 (bins + 1), T_l] bin
    logits for
    `trident_distances`; ``start``, ``end`` boundary logits [B, C, T_l]; ``start_shift``, ``end_shift`` and
    ``confidence`` [B, C, T_l] of the refinement.
    """

    length: int
    masks: list[Tensor]
    logits: list[Tensor]
    offsets: list[Tensor]
    start: list[Tensor] | None = None
    end: list[Tensor] | None = None
    start_shift: list[Tensor] | None = None
    end_shift: list[Tensor] | None = None
    confidence: list[Tensor] | None = None
