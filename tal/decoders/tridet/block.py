"""Scalable-granularity perception (SGP): an instant and a windowed branch instead of attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.layers.blocks import Downsampling, depthwise, feed_forward
from tal.decoders.layers.masked import (
    ChannelNorm,
    PositionGroupNorm,
    masked,
    masked_mean,
    residual_path,
    strided,
)
from tal.decoders.tridet.config import TriDetConfig


class SGPBlock(nn.Module):
    """y = fc(u) ReLU(gfc(mean u)) + (conv_w(u) + conv_kw(u)) psi(u) + u with u = norm(x), then a
    feed-forward part.
    """

    def __init__(self, config: TriDetConfig, window: int, stride: int, drop_path: float) -> None:
        super().__init__()
        width, sd = config.embed_dim, config.conv_init
        self.stride, self.strict = stride, config.strict
        self.downsampling = Downsampling(width, stride, config.downsampling, config.strict)
        self.norm = ChannelNorm(width)
        self.group_norm = PositionGroupNorm(width, config.norm_groups, config.strict)
        self.instant = depthwise(width, 1, sd)
        self.instant_gate = depthwise(width, 1, sd)
        self.narrow = depthwise(width, window, sd)
        self.wide = depthwise(width, config.wide_kernel(window), sd)
        self.window_gate = depthwise(width, 1, sd)
        self.mlp = feed_forward(width, config.mlp_dim)
        self.path1 = residual_path(width, drop_path)
        self.path2 = residual_path(width, drop_path)

    def forward(self, x: Tensor, mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """x [B, D, T] -> [B, D, T / stride]."""
        x, mask = self.downsampling(x, mask), strided(mask, self.stride)
        u = self.norm(x)
        u = masked(u, mask) if self.strict else u
        gate = F.relu(self.instant_gate(masked_mean(u, mask if self.strict else None)))
        y = self.instant(u) * gate + (self.narrow(u) + self.wide(u)) * self.window_gate(u) + u
        x = masked(x, mask) + self.path1(masked(y, mask) if self.strict else y)
        x = x + self.path2(self.mlp(self.group_norm(x, mask)))
        return masked(x, mask) if self.strict else x
