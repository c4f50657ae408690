"""Masks over time: x [B, C, T] with a mask bool [B, 1, T], True inside the video.

Two ways of treating padding run through the decoders, and every layer takes which as ``strict``. Strict:
positions outside the mask are zero after every layer and take part in no statistics, so that nothing inside
depends on how much padding follows. Not strict: what the released code bases do, where a bias or a norm fills
the padding again and leaks back at the end of the video.

A layer that is given a mask owns it: what it returns is right for the layers after it. Blocks only compose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def strided(mask: Tensor, stride: int) -> Tensor:
    """Mask of every ``stride``-th position."""
    return mask if stride == 1 else mask[..., ::stride]


def strided_masks(mask: Tensor, levels: int) -> list[Tensor]:
    """Masks of a pyramid whose every level has half the length of the one before, the first as it is."""
    return [strided(mask, 2**level) for level in range(levels)]


def masked(x: Tensor, mask: Tensor, strict: bool = True) -> Tensor:
    """x with zeros outside the mask; x itself when not strict."""
    return x * mask.to(x.dtype) if strict else x


def masked_mean(x: Tensor, mask: Tensor, strict: bool) -> Tensor:
    """Mean over time [B, C, 1]: of valid positions when strict, of all otherwise."""
    if not strict:
        return x.mean(dim=2, keepdim=True)
    keep = mask.to(x.dtype)
    return (x * keep).sum(2, keepdim=True) / keep.sum(2, keepdim=True).clamp(min=1)


def max_pool(x: Tensor, mask: Tensor, stride: int, strict: bool) -> Tensor:
    """Maximum over 3 positions at each ``stride``-th (kernel stride + 1, padding half of it).

    Strict: invalid positions do not compete and come out as zeros.
    """
    if not strict:
        return F.max_pool1d(x, stride + 1, stride, (stride + 1) // 2)
    lowest = torch.finfo(x.dtype).min
    pooled = F.max_pool1d(x.masked_fill(~mask, lowest), stride + 1, stride, (stride + 1) // 2)
    return pooled.masked_fill(~strided(mask, stride), 0.0)


def valid_lengths(mask: Tensor) -> list[int]:
    """Positions up to the last valid one of each sample of mask [B, 1, T]."""
    place = torch.arange(1, mask.shape[2] + 1, device=mask.device)
    return (mask[:, 0] * place).amax(1).tolist()
