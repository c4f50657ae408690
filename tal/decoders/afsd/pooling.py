"""Boundary max pooling: the maximum of a feature over an interval, for many intervals, in plain torch.

AFSD (Lin et al., CVPR 2021) pools the first half of the channels around a segment's start and the second half
around its end; its release needs a CUDA extension. Here a sparse table (maxima over all stretches of 1, 2,
4, … positions) answers each interval with two look-ups: T log T to build, nothing in an interval's length
to query.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tal.decoders.padded_targets import valid_extent


def interval_argmax(x: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Position of the maximum of each channel over each interval.

    x [B, C, T]; start, stop long [B, N], both inclusive, 0 <= start <= stop < T -> long [B, C, N].
    """
    channels, length = x.shape[1:]
    values = x.detach()
    best = torch.arange(length, device=x.device).expand(values.shape)
    tables = [best]  # tables[k][..., t]: argmax over [t, t + 2^k), cut at T
    while 2 ** len(tables) <= length:
        reach = 2 ** (len(tables) - 1)
        other = torch.cat([best[..., reach:], best[..., -1:].expand(-1, -1, reach)], dim=-1)
        best = torch.where(values.gather(2, best) >= values.gather(2, other), best, other)
        tables.append(best)
    stacked = torch.cat(tables, dim=-1)  # [B, C, K * T]

    level = torch.log2((stop - start + 1).float()).long()
    # log2 of floats may round up at a power of two
    level = level - (2**level > stop - start + 1).long()
    left = level * length + start
    right = level * length + stop + 1 - 2**level
    first, second = (stacked.gather(2, look[:, None].expand(-1, channels, -1)) for look in (left, right))
    return torch.where(values.gather(2, first) >= values.gather(2, second), first, second)


def interval_max(x: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Maximum of x [B, C, T] over intervals [start, stop] (long [B, N], inclusive) -> [B, C, N].

    The gradient goes to one position of each maximum.
    """
    return x.gather(2, interval_argmax(x, start, stop))


def boundary_max_pool(x: Tensor, mask: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """First half of the channels pooled over the start intervals, second half over the end intervals.

    x [B, C, T] (C even), mask bool [B, 1, T]; starts, ends float [B, N, 2]: interval bounds in positions of
    x, rounded and clamped to the valid positions. -> [B, C, N]. A sample without any valid position reads
    position 0.
    """
    half = x.shape[1] // 2
    first, last = valid_extent(mask)
    pooled = []
    for part, bounds in ((x[:, :half], starts), (x[:, half:], ends)):
        whole = bounds.round().long()
        start = whole[..., 0].maximum(first).minimum(last)
        stop = whole[..., 1].maximum(first).minimum(last).maximum(start)
        pooled.append(interval_max(part, start, stop))
    return torch.cat(pooled, dim=1)
