"""What a pyramid decoder computes for a batch, from the pyramid to the heads' outputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pyramid:
    """Maps before the heads: one tensor per level, finest first.

    Attributes
    ----------
    backbone, backbone_masks
        maps [B, D, T_l] and masks bool [B, 1, T_l] of all levels, before the level norms.
    maps, masks
        the same of the levels with heads, after the level norms.
    class_maps, offset_maps, boundary_maps, refine_maps
        what each head looks at, [B, D, T_l].
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
    """Outputs of the heads: one tensor per level, finest first.

    Attributes
    ----------
    length
        positions of the input; the maps may be padded beyond it.
    masks
        bool [B, 1, T_l].
    logits
        [B, C, T_l].
    offsets
        distances in strides [B, 2, T_l], or bin logits [B, 2 (bins + 1), T_l] for `trident_distances`.
    start, end
        boundary logits [B, C, T_l], with trident heads.
    start_shift, end_shift, confidence
        [B, C, T_l] of the refinement.
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
