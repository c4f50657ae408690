"""Residual paths: stochastic depth behind a learnt scale."""

from __future__ import annotations

import torch
from timm.layers import drop_path
from torch import Tensor, nn

from tal.decoders.layers.masks import masked


class ResidualPath(nn.Module):
    """What a block adds to its input.

    A learnt scale for each channel, 1e-4 at first (LayerScale, Touvron et al., 2021), and stochastic depth;
    for probability 0 neither, as in the released blocks. Zeros outside the mask when strict.
    """

    def __init__(self, channels: int, probability: float, strict: bool, initial: float = 1e-4) -> None:
        super().__init__()
        self.probability, self.strict = probability, strict
        scaled = probability > 0
        self.scale = nn.Parameter(torch.full((channels,), initial)) if scaled else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, C, T], mask bool [B, 1, T] -> [B, C, T]."""
        x = masked(x, mask, self.strict)
        if self.scale is None:
            return x
        return drop_path(self.scale[:, None] * x, self.probability, self.training)
