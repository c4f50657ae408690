"""Anchor segments of a 1-D pyramid, and segments <-> offsets from anchors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# A decoded segment is at most e times as long as its anchor, as in DaoTAD's release.
MAX_LOG_SCALE = 1.0


def pyramid_anchors(
    lengths: Sequence[int], scale: float, per_position: int, middle: bool, device: torch.device | None = None
) -> Tensor:
    """Anchors [N, 2] (start, end) of levels of the given lengths, level by level, position by position.

    Level l has stride 2^l; each of its positions has ``per_position`` lengths stride * scale * 2^(i /
    per_position). They are centred on position j * stride, or with ``middle`` on the middle of the cell of
    ``stride`` positions that begins there.
    """
    octaves = scale * 2.0 ** (torch.arange(per_position, device=device) / per_position)
    levels = []
    for level, length in enumerate(lengths):
        stride = 2**level
        centre = torch.arange(length, device=device) * stride + ((stride - 1) / 2 if middle else 0.0)
        half = octaves * (stride / 2)
        levels.append(torch.stack([centre[:, None] - half, centre[:, None] + half], dim=-1).reshape(-1, 2))
    return torch.cat(levels)


def encode(anchors: Tensor, segments: Tensor) -> Tensor:
    """Offsets [..., 2] (centre in anchor lengths, log of the length ratio) from anchors to segments."""
    width = anchors[..., 1] - anchors[..., 0]
    length = segments[..., 1] - segments[..., 0]
    centre = (segments.sum(-1) - anchors.sum(-1)) / 2 / width
    return torch.stack([centre, torch.log(length / width)], dim=-1)


def decode(anchors: Tensor, offsets: Tensor, max_log_scale: float = MAX_LOG_SCALE) -> Tensor:
    """Segments [..., 2] of offsets from anchors; the inverse of `encode` up to exp(``max_log_scale``)."""
    width = anchors[..., 1] - anchors[..., 0]
    centre = anchors.sum(-1) / 2 + offsets[..., 0] * width
    half = width * torch.exp(offsets[..., 1].clamp(max=max_log_scale)) / 2
    return torch.stack([centre - half, centre + half], dim=-1)
