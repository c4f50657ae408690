"""The layers of AFSD: coarse heads, fine boundary features, refinement by boundary max pooling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tal.decoders.afsd.pooling import boundary_max_pool
from tal.decoders.layers.convolution import ConvBlock, ConvStack
from tal.decoders.layers.masks import masked
from tal.decoders.layers.norms import NormKind
from tal.device import kept


@kept
def points_of_levels(lengths: tuple[int, ...], device: torch.device | None = None) -> Tensor:
    """[N, 2]: place in grid units and stride of every location, level by level.

    Location j of level l is the middle of the 2^l input positions it stands over.
    """
    levels = []
    for level, length in enumerate(lengths):
        stride = 2.0**level
        place = (torch.arange(length, device=device) + 0.5) * stride - 0.5
        levels.append(torch.stack([place, torch.full_like(place, stride)], dim=-1))
    return torch.cat(levels)


def boundary_intervals(segments: Tensor, scale: float, release: bool = False) -> tuple[Tensor, Tensor]:
    """Intervals around start and end of segments [..., 2], on a grid of ``scale`` cells per grid unit.

    A tenth of the length outwards, a quarter inwards, at least one cell each. Cell i of that grid is
    centred on grid position (i + 0.5) / scale - 0.5. -> two tensors [..., 2] of real cell indices.

    ``release``: as TALLFormer's release has them on its grid of frames, half a cell on and a cell longer.
    """
    start, end = ((segments + 0.5) * scale - (0 if release else 0.5)).unbind(-1)
    length = end - start + (1 if release else 0)
    outside = (length / 10).clamp(min=1)
    inside = (length / 4).clamp(min=1)
    return (
        torch.stack([start - outside, start + inside], dim=-1),
        torch.stack([end - inside, end + outside], dim=-1),
    )


class FineFeatures(nn.Module):
    """Level 0 repeated ``upsample`` times, three convolutions; [B, C, T] -> [B, C, T * upsample], mask."""

    def __init__(self, channels: int, upsample: int, norm: NormKind, bias: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.stack = ConvStack(channels, channels, 2, norm, bias)
        self.point = ConvBlock(channels, channels, 1, norm=norm, bias=bias)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x, mask = (value.repeat_interleave(self.upsample, dim=-1) for value in (x, mask))
        return self.point(self.stack(x, mask), mask)


class Refinement(nn.Module):
    """Features of a segment: its location, its boundaries on the level, its boundaries on the fine grid."""

    def __init__(self, channels: int, norm: NormKind, bias: bool) -> None:
        super().__init__()
        self.own = ConvBlock(channels, channels, 1, norm=norm, bias=bias)
        self.boundary = ConvBlock(channels, 2 * channels, 1, norm=norm, bias=bias)
        self.fine = ConvBlock(channels, channels, 1, norm=norm, bias=bias)
        self.merge = ConvBlock(4 * channels, channels, 1, norm=norm, bias=bias)

    def forward(
        self, tower: Tensor, mask: Tensor, fine_pooled: Tensor, starts: Tensor, ends: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tower and pooled fine features [B, C, T_l], intervals [B, T_l, 2] in positions of the level.

        Returns the merged feature [B, C, T_l] and the boundary feature [B, 2C, T_l] before pooling.
        """
        boundary, _ = self.boundary(tower, mask)
        pooled = masked(boundary_max_pool(boundary, mask, starts, ends), mask)
        own, _ = self.own(tower, mask)
        fine, _ = self.fine(fine_pooled, mask)
        merged, _ = self.merge(torch.cat([fine, pooled, own], dim=1), mask)
        return merged, boundary


class CoarseHead(nn.Module):
    """A tower shared by the levels and a 3-tap convolution on it."""

    def __init__(self, channels: int, outputs: int, num_layers: int, norm: NormKind, bias: bool) -> None:
        super().__init__()
        self.tower = ConvStack(channels, channels, num_layers, norm, bias)
        self.head = nn.Conv1d(channels, outputs, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the tower's feature and the head's output."""
        x = self.tower(x, mask)
        return x, self.head(x)


def exp_distances(raw: Tensor, scale: Tensor, max_distance: float) -> Tensor:
    """exp(scale * raw), at most ``max_distance``; clamped first, so that the gradient stays finite."""
    return torch.exp((raw * scale).clamp(max=math.log(max_distance)))


def start_end_scores(feature: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of tanh over the first (start) and second half (end) of the channels; [B, C, T] -> two [B, T].

    Features come out of a ReLU, so both are in [0, 1).
    """
    start, end = feature.tanh().chunk(2, dim=1)
    return start.mean(1), end.mean(1)


def small_normal(module: nn.Module) -> None:
    """Weights of all convolutions from a normal distribution of standard deviation 0.01, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d):
            nn.init.normal_(part.weight, std=0.01)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def expect_background(head: nn.Conv1d, prior: float) -> None:
    """Set the bias of class 0, the background, so that all other classes together start at chance ``prior``.

    Background locations outnumber the others by hundreds, and their loss is divided by the few others:
    without a prior it starts near 100.
    """
    assert head.bias is not None
    with torch.no_grad():
        head.bias[0] = math.log((head.out_channels - 1) * (1 - prior) / prior)
