"""Layers on [B, C, T] with a mask bool [B, 1, T].

Two ways of treating padding run through this package. ``strict``: positions outside the mask are zero
after every layer and take part in no statistics, so that nothing inside depends on how much padding
follows. Not strict: what the released code bases do, where a bias or a norm fills the padding again and
leaks back at the end of the video.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.layers import drop_path
from torch import Tensor, nn

from tal.decoders.layers.norms import MaskedGroupNorm


class MaskedConv1d(nn.Conv1d):
    """Convolution with an odd kernel and same padding, output multiplied by the (strided) mask."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) * strided(mask, self.stride[0]).to(x.dtype)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        return centred / torch.sqrt(variance + self.eps) * self.weight[:, None] + self.bias[:, None]


class PositionGroupNorm(nn.Module):
    """Group normalisation over time: of valid positions when strict, of all positions otherwise."""

    def __init__(self, channels: int, groups: int, strict: bool) -> None:
        super().__init__()
        self.strict = strict
        self.norm = MaskedGroupNorm(channels, groups) if strict else nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.norm(x, mask) if self.strict else self.norm(x)


class TimeGroupNorm(nn.Module):
    """Group normalisation over time without scale: of valid positions when strict, of all otherwise."""

    def __init__(self, groups: int, strict: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.strict, self.eps = groups, strict, eps

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        grouped = x.unflatten(1, (self.groups, -1))  # [B, G, D / G, T]
        keep = mask[:, None].to(x.dtype) if self.strict else x.new_ones(1, 1, 1, x.shape[2])
        count = keep.sum(-1, keepdim=True).clamp(min=1) * grouped.shape[2]
        mean = (grouped * keep).sum((2, 3), keepdim=True) / count
        variance = ((grouped - mean) * keep).square().sum((2, 3), keepdim=True) / count
        return ((grouped - mean) * (variance + self.eps).rsqrt()).flatten(1, 2)


class AffineDropPath(nn.Module):
    """Stochastic depth behind a learnt scale a channel, 1e-4 at first (LayerScale, Touvron et al., 2021)."""

    def __init__(self, channels: int, probability: float, initial: float = 1e-4) -> None:
        super().__init__()
        self.probability = probability
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return drop_path(self.scale[:, None] * x, self.probability, self.training)


def residual_path(channels: int, drop_probability: float) -> nn.Module:
    """`AffineDropPath`, or nothing for probability 0: there the released blocks have no scale either."""
    return AffineDropPath(channels, drop_probability) if drop_probability > 0 else nn.Identity()


def strided(mask: Tensor, stride: int) -> Tensor:
    """Mask of every ``stride``-th position."""
    return mask if stride == 1 else mask[..., ::stride]


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x with zeros outside the mask."""
    return x * mask.to(x.dtype)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over time [B, C, 1], of valid positions, or of all without a mask."""
    if mask is None:
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


def sinusoids(length: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sine and cosine position codes [C, T] (Vaswani et al., 2017), divided by sqrt(C)."""
    pair = torch.arange(channels, dtype=torch.float64, device=device) // 2
    position = torch.arange(length, dtype=torch.float64, device=device)
    angle = position[None] / torch.pow(10000.0, 2 * pair / channels)[:, None]
    even = (torch.arange(channels, device=device) % 2 == 0)[:, None]
    return (torch.where(even, angle.sin(), angle.cos()) / math.sqrt(channels)).float()
