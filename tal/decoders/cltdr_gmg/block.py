"""Gated multi-granularity block (GMG): a global, a local and an instant branch, each gating the next."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.actionformer.block import ConvAttention
from tal.decoders.cltdr_gmg.config import CltdrGmgConfig
from tal.decoders.cltdr_gmg.spectral import SpectralMixer
from tal.decoders.layers.blocks import Downsampling, depthwise, feed_forward
from tal.decoders.layers.masked import ChannelNorm, PositionGroupNorm, masked, residual_path, strided


class GMGBlock(nn.Module):
    """y = u + G + L + I with L = conv(u) gate(G), I = fc(u) gate(L); branches left out are not added and
    gate nothing.
    """

    def __init__(self, config: CltdrGmgConfig, window: int, stride: int, drop_path: float) -> None:
        super().__init__()
        width, branches = config.embed_dim, config.granularities
        self.stride, self.strict, self.gate = stride, config.strict, config.gate
        self.downsampling = Downsampling(width, stride, config.downsampling, config.strict)
        self.norm = ChannelNorm(width)
        self.group_norm = PositionGroupNorm(width, config.norm_groups, config.strict)
        self.instant: nn.Conv1d | None = None
        if "instant" in branches:
            dense = config.instant == "dense"
            self.instant = nn.Conv1d(width, width, 1) if dense else depthwise(width, 1, config.conv_init)
        self.local = depthwise(width, window, config.conv_init) if "local" in branches else None
        self.mixer: SpectralMixer | ConvAttention | None = None
        if "global" in branches:
            attention = config.global_mixer == "attention"
            self.mixer = (
                ConvAttention(width, config.heads, 0, 1, config.dropout, False)
                if attention
                else SpectralMixer(width)
            )
        self.mlp = feed_forward(width, config.mlp_dim)
        self.path1 = residual_path(width, drop_path)
        self.path2 = residual_path(width, drop_path)

    def forward(self, x: Tensor, mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """x [B, D, T] -> [B, D, T / stride]; ``lengths``: valid positions of each sample at the input's
        stride.
        """
        x, mask = self.downsampling(x, mask), strided(mask, self.stride)
        u = self.norm(x)
        u = masked(u, mask) if self.strict else u
        y = u + self._branches(u, mask, lengths)
        x = masked(x, mask) + self.path1(masked(y, mask) if self.strict else y)
        x = x + self.path2(self.mlp(self.group_norm(x, mask)))
        return masked(x, mask) if self.strict else x

    def _branches(self, u: Tensor, mask: Tensor, lengths: list[int] | None) -> Tensor:
        total: Tensor | None = None
        gate: Tensor | None = None
        if isinstance(self.mixer, SpectralMixer):
            valid = [-(-n // self.stride) for n in lengths] if self.strict and lengths is not None else None
            total = gate = self.mixer(u, valid)
        elif self.mixer is not None:
            total = gate = self.mixer(u, mask, mask)
        for branch in (self.local, self.instant):
            if branch is None:
                continue
            found = branch(u)
            if gate is not None and self.gate != "none":
                found = found * (F.relu(gate) if self.gate == "relu" else gate)
            gate = found
            total = found if total is None else total + found
        assert total is not None
        return total
