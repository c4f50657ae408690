"""Heads shared by all levels: a tower of convolutions and an output layer.

Levels go through a head as one sequence with gaps of zeros between them, so that a head costs a few large
operations, not a few for each level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.layers.convolution import MaskedConv1d
from tal.decoders.layers.norms import ChannelNorm, NoNorm


@dataclass(frozen=True)
class LevelLayout:
    """Where each level lies in the joined sequence.

    Attributes
    ----------
    lengths
        positions of each level.
    gap
        zeros between two levels.
    mask
        bool [B, 1, N]: valid positions.
    inside
        bool [1, 1, N]: positions of a level, valid or not.
    """

    lengths: tuple[int, ...]
    gap: int
    mask: Tensor
    inside: Tensor

    @classmethod
    def build(cls, masks: Sequence[Tensor], gap: int) -> LevelLayout:
        lengths = tuple(mask.shape[2] for mask in masks)
        inside = [torch.ones_like(mask[:1]) for mask in masks]
        return cls(lengths, gap, _join(masks, gap), _join(inside, gap))

    def join(self, levels: Sequence[Tensor]) -> Tensor:
        """Maps [B, C, T_l] -> [B, C, N], zeros in the gaps."""
        return _join(levels, self.gap)

    def split(self, joined: Tensor) -> list[Tensor]:
        """[B, C, N] -> maps [B, C, T_l]."""
        pieces, start = [], 0
        for length in self.lengths:
            pieces.append(joined[:, :, start : start + length])
            start += length + self.gap
        return pieces


def _join(levels: Sequence[Tensor], gap: int) -> Tensor:
    padded = [F.pad(level, (0, gap)) for level in levels[:-1]]
    return torch.cat([*padded, levels[-1]], dim=2)


class Tower(nn.Module):
    """``layers - 1`` times convolution, norm, ReLU on a joined sequence."""

    def __init__(
        self, in_channels: int, width: int, layers: int, kernel: int, norm: bool, strict: bool
    ) -> None:
        super().__init__()
        self.strict = strict
        self.convs = nn.ModuleList(
            MaskedConv1d(in_channels if i == 0 else width, width, kernel, bias=not norm)
            for i in range(layers - 1)
        )
        self.norms = nn.ModuleList(
            ChannelNorm(width, strict=True) if norm else NoNorm() for _ in range(layers - 1)
        )

    def forward(self, x: Tensor, layout: LevelLayout) -> Tensor:
        keep = layout.mask if self.strict else layout.inside
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x, layout.mask), keep))
        return x


def prior_bias(probability: float) -> float:
    """Logit of a probability."""
    return -math.log((1 - probability) / probability)


class ClassHead(nn.Module):
    """Logits of every class at every position; the output bias starts at the class prior."""

    def __init__(
        self, tower: Tower, width: int, num_classes: int, kernel: int, prior: float, empty: Sequence[int]
    ) -> None:
        super().__init__()
        self.tower = tower
        self.output = MaskedConv1d(width, num_classes, kernel)
        assert self.output.bias is not None
        with torch.no_grad():
            self.output.bias.fill_(prior_bias(prior))
            # classes that have no training sample keep this value
            self.output.bias[[index for index in empty if index < num_classes]] = prior_bias(1e-6)

    def forward(self, x: Tensor, layout: LevelLayout) -> list[Tensor]:
        """Joined [B, D, N] -> logits [B, C, T_l] of each level."""
        return layout.split(self.output(self.tower(x, layout), layout.mask))


class OffsetHead(nn.Module):
    """ReLU of the output times a learnt scale per level: distances to start and end, or logits of bins."""

    def __init__(self, tower: Tower, width: int, outputs: int, kernel: int, levels: int) -> None:
        super().__init__()
        self.tower = tower
        self.output = MaskedConv1d(width, outputs, kernel)
        self.scales = nn.Parameter(torch.ones(levels))

    def forward(self, x: Tensor, layout: LevelLayout) -> list[Tensor]:
        """Joined [B, D, N] -> outputs [B, n, T_l] of each level, >= 0."""
        levels = layout.split(self.output(self.tower(x, layout), layout.mask))
        return [F.relu(level * scale) for level, scale in zip(levels, self.scales, strict=True)]
