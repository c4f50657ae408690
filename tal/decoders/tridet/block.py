"""Scalable-granularity perception (SGP): an instant and a windowed branch instead of attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tal.decoders.layers.convolution import depthwise
from tal.decoders.layers.masks import masked_mean
from tal.decoders.trident.block import BranchBlock
from tal.decoders.tridet.config import TriDetConfig


class SGPBlock(BranchBlock):
    """Branches fc(u) ReLU(gfc(mean u)) and (conv_w(u) + conv_kw(u)) psi(u) of a `BranchBlock`."""

    def __init__(self, config: TriDetConfig, window: int, stride: int, drop_path: float) -> None:
        super().__init__(config, stride)
        width, sd = config.embed_dim, config.conv_init
        self.instant = depthwise(width, 1, sd)
        self.instant_gate = depthwise(width, 1, sd)
        self.narrow = depthwise(width, window, sd)
        self.wide = depthwise(width, config.wide_kernel(window), sd)
        self.window_gate = depthwise(width, window, sd)
        self.add_feed_forward(config, drop_path)

    def branches(self, u: Tensor, mask: Tensor, lengths: list[int] | None) -> Tensor:
        """u [B, D, T] -> [B, D, T]."""
        gate = F.relu(self.instant_gate(masked_mean(u, mask, self.strict)))
        return self.instant(u) * gate + (self.narrow(u) + self.wide(u)) * self.window_gate(u)
