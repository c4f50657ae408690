"""Whether two computations found the same: tensors of any output, gradients, detections as sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tal.decoders.base import Candidates

BEST = 100
MIN_IOU, SCORE_DIFFERENCE = 0.99, 1e-3
# Parameters of a smaller gradient than this share of the largest are judged by that.
_SMALLEST = 1e-3


def tensors_of(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Floating-point tensors of an output by their place in it, whatever dataclasses and lists it is of."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_of(item, f"{name}[{index}]")


def excess(computed: Tensor, expected: Tensor, rtol: float, atol: float) -> float:
    """The largest |a - b| over atol + rtol |b|; 1 is the limit. Infinite where one alone is not finite."""
    computed, expected = computed.detach().cpu().double(), expected.detach().cpu().double()
    if computed.numel() == 0:
        return 0.0
    same = computed == expected  # infinities too
    part = torch.where(same, 0.0, (computed - expected).abs() / (atol + rtol * expected.abs()))
    return float(part.nan_to_num(nan=float("inf")).max())


def gradient_difference(computed: nn.Module, expected: nn.Module) -> float:
    """The largest |g - g'| / |g'| of any parameter, L2."""
    pairs = []
    for mine, theirs in zip(computed.parameters(), expected.parameters(), strict=True):
        if theirs.grad is None or mine.grad is None:
            assert theirs.grad is mine.grad, "a parameter learns on one side only"
            continue
        pairs.append((mine.grad.cpu().double(), theirs.grad.double()))
    largest = max(float(theirs.norm()) for _, theirs in pairs)
    return max(
        float((mine - theirs).norm()) / max(float(theirs.norm()), _SMALLEST * largest)
        for mine, theirs in pairs
    )


def matched(one: Candidates, two: Candidates, best: int = BEST) -> float:
    """Share of the best of each that the other has too: same class, IoU and score to a hair; in [0, 1].

    Looked for among all of the other: where scores are nearly equal, who is among the best is chance.
    """
    if not len(one) or not len(two):
        return float(len(one) == len(two))
    return min(_found(one.best(best), two), _found(two.best(best), one))


def _found(best: Candidates, among: Candidates) -> float:
    start = torch.maximum(best.segments[:, None, 0], among.segments[None, :, 0])
    end = torch.minimum(best.segments[:, None, 1], among.segments[None, :, 1])
    lengths = best.segments.diff(dim=1) + among.segments.diff(dim=1).t()
    shared = (end - start).clamp(min=0)
    close = (best.segments[:, None] - among.segments[None]).abs().amax(-1) < 1e-4  # of no length: no IoU
    there = (shared > MIN_IOU * (lengths - shared)) | close
    there &= best.labels[:, None] == among.labels[None]
    there &= (best.scores[:, None] - among.scores[None]).abs() <= SCORE_DIFFERENCE
    return float(there.any(1).float().mean())
