"""Gated multi-granularity block (GMG): a global, a local and an instant branch, each gating the next."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.actionformer.block import ConvAttention
from tal.decoders.cltdr_gmg.config import CltdrGmgConfig
from tal.decoders.cltdr_gmg.spectral import SpectralMixer
from tal.decoders.layers.convolution import depthwise
from tal.decoders.trident.block import BranchBlock


class GMGBlock(BranchBlock):
    """Branches G, L = conv(u) gate(G) and I = fc(u) gate(L) of a `BranchBlock`.

    Branches left out are not added and gate nothing.
    """

    def __init__(self, config: CltdrGmgConfig, window: int, stride: int, drop_path: float) -> None:
        super().__init__(config, stride)
        width, branches = config.embed_dim, config.granularities
        self.gate = config.gate
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
        self.add_feed_forward(config, drop_path)

    def branches(self, u: Tensor, mask: Tensor, lengths: list[int] | None) -> Tensor:
        """u [B, D, T] -> [B, D, T]; ``lengths`` when padding is to play no part in the spectral filter."""
        total: Tensor | None = None
        gate: Tensor | None = None
        if isinstance(self.mixer, SpectralMixer):
            total = gate = self.mixer(u, lengths)
        elif self.mixer is not None:
            total = gate = self.mixer(u, mask, mask)
        for branch in (self.local, self.instant):
            if branch is None:
                continue
            value = branch(u)
            if gate is not None and self.gate != "none":
                value = value * (F.relu(gate) if self.gate == "relu" else gate)
            gate = value
            total = value if total is None else total + value
        assert total is not None
        return total
