"""Targets and losses of AFSD as TALLFormer's release uses it: per sample, then the mean over the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tal.decoders.padded_targets import PaddedTargets
from tal.device import kept, upload


@dataclass(frozen=True)
class PointTargets:
    """What each location learns.

    Attributes
    ----------
    positive
        bool [B, N]: whether it answers for a segment.
    label, segment
        of that segment, [B, N] and [B, N, 2]; they mean nothing where ``positive`` is False.
    """

    positive: Tensor
    label: Tensor
    segment: Tensor


def assign_points(
    points: Tensor,
    ranges: Sequence[tuple[float, float]],
    lengths: Sequence[int],
    valid: Tensor,
    targets: PaddedTargets,
) -> PointTargets:
    """A location answers for the shortest segment it lies in whose farther end is within its level's range.

    points [N, 2], valid bool [B, N]; ``ranges`` (lower, upper] and number of locations of each level.
    """
    bounds = _bounds(tuple(ranges), tuple(lengths), points.device, points.dtype)  # [N, 2]
    place = points[None, :, None, 0]
    before = place - targets.segments[:, None, :, 0]  # [B, N, G]
    after = targets.segments[:, None, :, 1] - place
    farther = torch.maximum(before, after)
    fits = (torch.minimum(before, after) > 0) & targets.real[:, None] & valid[..., None]
    fits &= (farther > bounds[:, None, 0]) & (farther <= bounds[:, None, 1])
    shortest, index = (before + after).masked_fill(~fits, torch.inf).min(dim=2)
    segment = targets.segments.gather(1, index[..., None].expand(-1, -1, 2))
    return PointTargets(shortest.isfinite(), targets.labels.gather(1, index), segment)


@kept
def _bounds(
    ranges: tuple[tuple[float, float], ...],
    lengths: tuple[int, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Range of each location's level, [N, 2]."""
    bounds = torch.tensor(ranges, dtype=dtype).repeat_interleave(torch.tensor(lengths), dim=0)
    return upload([bounds], device)[0]


def softmax_focal(logits: Tensor, classes: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Focal loss over softmax classes, class 0 the background; logits [..., K], classes long [...] -> [...].

    -a (1 - p)^gamma log p of the true class, a = ``alpha`` for actions and 1 - ``alpha`` for the background.
    The defaults are the release's.
    """
    log_p = F.log_softmax(logits, dim=-1).gather(-1, classes[..., None])[..., 0]
    weight = torch.where(classes > 0, alpha, 1 - alpha)
    return -weight * (1 - log_p.exp()).pow(gamma) * log_p


def boundary_labels(places: Tensor, unit: float, targets: PaddedTargets) -> tuple[Tensor, Tensor]:
    """Whether each place [T] (grid units) lies near a start, and near an end, of a segment: two float [B, T].

    Near: within a twentieth of the segment's length, at least ``unit`` (one cell of the grid of the places).
    """
    length = targets.segments[..., 1] - targets.segments[..., 0]
    reach = (length / 20).clamp(min=unit)[:, None]  # [B, 1, G]
    start, end = (
        (
            ((places[None, :, None] - targets.segments[:, None, :, side]).abs() <= reach)
            & targets.real[:, None]
        )
        .any(dim=2)
        .to(places.dtype)
        for side in (0, 1)
    )
    return start, end


def masked_bce(score: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of probabilities [B, T]: mean over a sample's valid positions, then the batch."""
    score = score.clamp(1e-6, 1 - 1e-6)
    loss = -(label * score.log() + (1 - label) * torch.log1p(-score)) * mask
    return (loss.sum(1) / mask.sum(1).clamp(min=1)).mean()
