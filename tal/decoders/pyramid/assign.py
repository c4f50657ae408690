"""Which positions learn which action: centre sampling, and SimOTA as TemporalMaxer uses it.

P points of all levels, N actions of one sample. A point has a time (grid units), a stride and a range of
distances that it may regress.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tal.device import kept, upload
from tal.losses import diou_offsets, sigmoid_focal

# Actions whose lengths differ by less are both the shortest (grid units).
_SAME_LENGTH = 1e-3


@dataclass(frozen=True)
class Points:
    """Points of all levels, one level after another; every field is [P].

    Attributes
    ----------
    time, stride
        in grid units.
    low, high
        range of the larger distance that a point answers for, both ends included.
    level
        index of the point's level.
    num_levels
        how many there are.
    """

    time: Tensor
    stride: Tensor
    low: Tensor
    high: Tensor
    level: Tensor
    num_levels: int

    @classmethod
    def build(
        cls,
        lengths: Sequence[int],
        strides: Sequence[int],
        ranges: Sequence[tuple[float, float]],
        device: torch.device,
    ) -> Points:
        """Points of all levels one after another: point j of a level lies at j times its stride."""
        return _points(tuple(lengths), tuple(strides), tuple((low, high) for low, high in ranges), device)


@kept
def _points(
    lengths: tuple[int, ...],
    strides: tuple[int, ...],
    ranges: tuple[tuple[float, float], ...],
    device: torch.device,
) -> Points:
    time = torch.cat([torch.arange(n) * s for n, s in zip(lengths, strides, strict=True)]).float()
    count = torch.tensor(lengths)
    stride, low, high = (
        torch.tensor(values, dtype=torch.float32).repeat_interleave(count)
        for values in (strides, [pair[0] for pair in ranges], [pair[1] for pair in ranges])
    )
    level = torch.arange(len(lengths)).repeat_interleave(count)
    time, stride, low, high, level = upload([time, stride, low, high, level], device)
    return Points(time, stride, low, high, level, len(lengths))


@dataclass(frozen=True)
class Assignment:
    """What the points of one sample learn.

    Attributes
    ----------
    classes
        [P, C] multi-hot; a point without any is negative.
    offsets
        [P, 2] distances to start and end in strides.
    weight
        [P] of positive points.
    """

    classes: Tensor
    offsets: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Pairs:
    """Positives of a batch; how many they are is data, so that on CUDA the host waits to know.

    Attributes
    ----------
    sample, point, label, level
        of each, [n]; points are counted through all levels.
    num_levels
        of the pyramid.
    """

    sample: Tensor
    point: Tensor
    label: Tensor
    level: Tensor
    num_levels: int

    @property
    def where(self) -> tuple[Tensor, Tensor, Tensor]:
        """Indices into [B, P, C]."""
        return self.sample, self.point, self.label

    @cached_property
    def of_levels(self) -> tuple[Tensor, ...]:
        """Which pairs are of each level, ascending; one more wait, whatever their number."""
        levels = torch.arange(self.num_levels, device=self.level.device)
        counts = (self.level[:, None] == levels).sum(0).tolist()
        return torch.argsort(self.level, stable=True).split(counts)


@dataclass(frozen=True)
class BatchAssignment:
    """`Assignment`s of a batch.

    Attributes
    ----------
    valid, positive
        bool [B, P].
    classes, offsets
        [B, P, C] and [B, P, 2], as in `Assignment`.
    weight
        [B, P], 1 where not positive.
    known
        bool [B, P, C]: what the points learn of; None: of all classes.
    """

    points: Points
    valid: Tensor
    classes: Tensor
    offsets: Tensor
    positive: Tensor
    weight: Tensor
    known: Tensor | None = None

    @property
    def num_positive(self) -> Tensor:
        """Sum of the weights of positive points."""
        return (self.weight * self.positive).sum()

    @cached_property
    def pairs_of_classes(self) -> Pairs:
        """Each positive once for each of its classes."""
        return self._pairs(*(self.classes * self.positive[..., None]).nonzero(as_tuple=True))

    @cached_property
    def pairs_of_points(self) -> Pairs:
        """Each positive once, with the first of its classes."""
        sample, point = self.positive.nonzero(as_tuple=True)
        return self._pairs(sample, point, self.classes[sample, point].argmax(-1))

    def _pairs(self, sample: Tensor, point: Tensor, label: Tensor) -> Pairs:
        return Pairs(sample, point, label, self.points.level[point], self.points.num_levels)


def _distances(points: Points, segments: Tensor) -> Tensor:
    """Distances [P, N, 2] from each point to start and end of each action, negative outside."""
    time = points.time[:, None]
    return torch.stack((time - segments[:, 0], segments[:, 1] - time), -1)


def _eligible(points: Points, segments: Tensor, distances: Tensor, radius: float | None) -> Tensor:
    """Bool [P, N]: point strictly inside the action (near its centre, with a radius), of the right range."""
    near = distances.amin(-1) > 0
    if radius is not None:
        centre = segments.mean(-1)
        reach = points.stride[:, None] * radius
        left = points.time[:, None] - torch.maximum(centre - reach, segments[:, 0])
        right = torch.minimum(centre + reach, segments[:, 1]) - points.time[:, None]
        near = torch.minimum(left, right) > 0
    largest = distances.amax(-1)
    return near & (largest >= points.low[:, None]) & (largest <= points.high[:, None])


def _shortest(eligible: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """Bool [P, N] of the shortest eligible actions (ties within 1e-3), and the index [P] of the first."""
    length = (segments[:, 1] - segments[:, 0])[None].expand(eligible.shape)
    length = length.masked_fill(~eligible, torch.inf)
    best, index = length.min(dim=1)
    return (length <= best[:, None] + _SAME_LENGTH) & eligible, index


def assign_by_center(
    points: Points, segments: Tensor, labels: Tensor, num_classes: int, radius: float | None = 1.5
) -> Assignment:
    """ActionFormer's rule: a point learns the shortest of the actions that it is eligible for.

    Eligible: within ``radius`` strides of the centre (None: anywhere inside) of an action whose larger
    distance is in the level's range.
    """
    count = len(points.time)
    if len(segments) == 0:
        return _nothing(points, segments, num_classes)
    distances = _distances(points, segments)
    chosen, index = _shortest(_eligible(points, segments, distances, radius), segments)
    offsets = distances[torch.arange(count, device=index.device), index] / points.stride[:, None]
    return Assignment(_multi_hot(chosen, labels, num_classes), offsets, torch.ones_like(points.time))


def assign_sim_ota(
    points: Points,
    segments: Tensor,
    labels: Tensor,
    logits: Tensor,
    predicted: Tensor,
    valid: Tensor,
    radius: float = 1.5,
    class_weight: float = 1.0,
    iou_weight: float = 2.0,
    keep_share: float = 1.0,
    confused_weight: float = 0.0,
) -> Assignment:
    """TemporalMaxer's assignment: positives as in `assign_by_center`, regression to the cheapest action.

    Cost of a point and an action: focal loss of the logits [P, C] against the action's class plus DIoU loss
    of the predicted distances [P, 2]. Of the points inside an action the ``keep_share`` cheapest weigh 1, the
    others ``confused_weight``. ``valid`` bool [P]. Memory is points x actions, not times classes.
    """
    if len(segments) == 0:
        return _nothing(points, segments, logits.shape[1])
    with torch.no_grad():
        distances = _distances(points, segments)
        chosen, _ = _shortest(_eligible(points, segments, distances, radius), segments)
        target = distances / points.stride[:, None, None]
        outside = (target < 0).any(-1) | ~valid[:, None]
        cost = iou_weight * diou_offsets(predicted[:, None].expand_as(target), target.clamp(min=0))
        cost = cost + class_weight * _class_cost(logits, labels)
        cost = cost.masked_fill(outside, torch.inf)

        inside = ~outside
        weight = torch.ones_like(points.time)
        weight[inside.any(1)] = confused_weight
        rank = cost.argsort(dim=0).argsort(dim=0)
        kept = rank < (inside.sum(0) * keep_share).to(rank.dtype)
        weight[kept.any(1)] = 1.0
        index = cost.argmin(dim=1)
        rows = torch.arange(len(index), device=index.device)
        return Assignment(_multi_hot(chosen & inside, labels, logits.shape[1]), target[rows, index], weight)


def _class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss [P, N] of all logits of a point against each action's one-hot class.

    All classes' loss as negatives, plus the difference that the action's own class makes.
    """
    negative = sigmoid_focal(logits, torch.zeros_like(logits))
    positive = sigmoid_focal(logits, torch.ones_like(logits))
    return negative.sum(1, keepdim=True) + (positive - negative)[:, labels]


def _multi_hot(chosen: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    one_hot = torch.nn.functional.one_hot(labels, num_classes).to(torch.float32)
    # a product comes in half precision under autocast; targets are float32
    return (chosen.to(torch.float32) @ one_hot).clamp(max=1.0).float()


def _nothing(points: Points, segments: Tensor, num_classes: int) -> Assignment:
    count = len(points.time)
    return Assignment(
        segments.new_zeros(count, num_classes), segments.new_zeros(count, 2), torch.ones_like(points.time)
    )
