"""Overlap losses of segments, each 1 - a kind of IoU, one value per pair.

A segment is [..., 2] = (start, end), or, in the ``*_offsets`` functions, the two distances (left, right)
from a point inside it to its start and end.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below any meaningful length, above what divides to infinity in float32.
_TINY = 1e-8


def _parts(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersection, union and the length of the smallest segment that holds both."""
    start, end = predicted.unbind(-1)
    target_start, target_end = target.unbind(-1)
    intersection = (torch.minimum(end, target_end) - torch.maximum(start, target_start)).clamp(min=0)
    union = (end - start) + (target_end - target_start) - intersection
    hull = torch.maximum(end, target_end) - torch.minimum(start, target_start)
    return intersection, union, hull


def iou(predicted: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of pairs of segments, [..., 2] -> [...]."""
    predicted, target = predicted.float(), target.float()
    intersection, union, _ = _parts(predicted, target)
    return intersection / union.clamp(min=_TINY)


def giou(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - generalised IoU (Rezatofighi et al., 2019) of pairs of segments, [..., 2] -> [...]."""
    predicted, target = predicted.float(), target.float()
    intersection, union, hull = _parts(predicted, target)
    return 1 - intersection / union.clamp(min=_TINY) + (hull - union) / hull.clamp(min=_TINY)


def diou(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - IoU + (distance of the centres / length of the hull)^2 (Zheng et al., 2020), [..., 2] -> [...]."""
    predicted, target = predicted.float(), target.float()
    intersection, union, hull = _parts(predicted, target)
    distance = 0.5 * (predicted - target).sum(-1)
    return 1 - intersection / union.clamp(min=_TINY) + (distance / hull.clamp(min=_TINY)).square()


def _around_zero(offsets: Tensor) -> Tensor:
    """(left, right) -> the segment (-left, right) around position 0."""
    left, right = offsets.float().unbind(-1)
    return torch.stack((-left, right), -1)


def giou_offsets(predicted: Tensor, target: Tensor) -> Tensor:
    """`giou` of segments given by their distances from one point."""
    return giou(_around_zero(predicted), _around_zero(target))


def diou_offsets(predicted: Tensor, target: Tensor) -> Tensor:
    """`diou` of segments given by their distances from one point."""
    return diou(_around_zero(predicted), _around_zero(target))
