"""Overlap losses of segments, each 1 - a kind of IoU, one value a pair.

A segment is [..., 2] = (start, end), or, in the ``*_offsets`` functions, the two distances (left, right)
from a point inside it to its start and end.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below any length that means something, above what divides to infinity in float32.
_TINY = 1e-8


def _parts(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Intersection, union and the length of the smallest segment that holds both."""
    start, end = predicted.unbind(-1)
    wanted_start, wanted_end = wanted.unbind(-1)
    intersection = (torch.minimum(end, wanted_end) - torch.maximum(start, wanted_start)).clamp(min=0)
    union = (end - start) + (wanted_end - wanted_start) - intersection
    hull = torch.maximum(end, wanted_end) - torch.minimum(start, wanted_start)
    return intersection, union, hull


def iou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Intersection over union of pairs of segments, [..., 2] -> [...]."""
    predicted, wanted = predicted.float(), wanted.float()
    intersection, union, _ = _parts(predicted, wanted)
    return intersection / union.clamp(min=_TINY)


def giou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """1 - generalised IoU (Rezatofighi et al., 2019) of pairs of segments, [..., 2] -> [...]."""
    predicted, wanted = predicted.float(), wanted.float()
    intersection, union, hull = _parts(predicted, wanted)
    return 1 - intersection / union.clamp(min=_TINY) + (hull - union) / hull.clamp(min=_TINY)


def diou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """1 - IoU + (distance of the centres / length of the hull)^2 (Zheng et al., 2020), [..., 2] -> [...]."""
    predicted, wanted = predicted.float(), wanted.float()
    intersection, union, hull = _parts(predicted, wanted)
    distance = 0.5 * (predicted - wanted).sum(-1)
    return 1 - intersection / union.clamp(min=_TINY) + (distance / hull.clamp(min=_TINY)).square()


def _around_zero(offsets: Tensor) -> Tensor:
    """(left, right) -> the segment (-left, right) around position 0."""
    left, right = offsets.float().unbind(-1)
    return torch.stack((-left, right), -1)


def iou_offsets(predicted: Tensor, wanted: Tensor) -> Tensor:
    """`iou` of segments given by their distances from one point."""
    return iou(_around_zero(predicted), _around_zero(wanted))


def giou_offsets(predicted: Tensor, wanted: Tensor) -> Tensor:
    """`giou` of segments given by their distances from one point."""
    return giou(_around_zero(predicted), _around_zero(wanted))


def diou_offsets(predicted: Tensor, wanted: Tensor) -> Tensor:
    """`diou` of segments given by their distances from one point."""
    return diou(_around_zero(predicted), _around_zero(wanted))
