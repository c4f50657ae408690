"""Boundary max pooling: the maximum of a feature over an interval, for many intervals, in plain torch.

AFSD (Lin et al., CVPR 2021) pools the first half of the channels around a segment's start and the second half
around its end; its release needs a CUDA extension. Here the maxima over all stretches of 1, 2, 4, … positions
are built one after the other; each answers the intervals that it fits with two look-ups: T log T to build,
nothing in an interval's length to query, memory for one table.
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
    level = torch.log2((stop - start + 1).float()).long()
    # log2 of floats may round up at a power of two
    level = level - (2**level > stop - start + 1).long()
    top = x.detach()
    place = torch.arange(length, device=x.device, dtype=torch.int32).expand(x.shape)
    result = torch.zeros(*x.shape[:2], start.shape[1], dtype=torch.int32, device=x.device)
    # in pass k, top and place are maximum and argmax over [t, t + 2^k), cut at T; only one pass is kept
    for power in range(length.bit_length()):
        here = (level == power)[:, None]
        # an interval is covered by a stretch from its start and one up to its stop
        look = torch.stack([start, stop + 1 - 2**power], dim=1) * here  # [B, 2, N]
        look = look[:, :, None].expand(-1, -1, channels, -1)  # [B, 2, C, N]
        (first, second), (left, right) = (
            (table.gather(2, look[:, 0]), table.gather(2, look[:, 1])) for table in (top, place)
        )
        result = torch.where(here, torch.where(first >= second, left, right), result)
        reach = 2**power
        if 2 * reach <= length:
            keep = top[..., :-reach] >= top[..., reach:]
            place = torch.cat(
                [torch.where(keep, place[..., :-reach], place[..., reach:]), place[..., -reach:]], -1
            )
            top = torch.cat([torch.maximum(top[..., :-reach], top[..., reach:]), top[..., -reach:]], -1)
    return result.long()


def interval_max(x: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Maximum of x [B, C, T] over intervals [start, stop] (long [B, N], inclusive) -> [B, C, N].

    The gradient goes to one position of each maximum.
    """
    return x.gather(2, interval_argmax(x, start, stop))


def boundary_max_pool(x: Tensor, mask: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """First half of the channels pooled over the start intervals, second half over the end intervals.

    x [B, C, T] (C even), mask bool [B, 1, T]; starts, ends float [B, N, 2]: interval bounds in positions of
    x, rounded and clamped to the valid positions (position 0 for a sample without any). -> [B, C, N].
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
