"""Temporal downsampling of rows by stride-2 convolutions (TALLFormer §4.2; SRM in its release), masked."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from tal.errors import ConfigError


class TemporalDownsampling(nn.Module):
    """[B, C, T], mask [B, 1, T] -> [B, width, T / factor], mask [B, 1, T / factor].

    Each halving is a convolution k3 s2 p1 with ReLU between two of them and none after the last; factor 1 is
    one 1x1 convolution. Positions outside the mask are zeroed before and after each, so that what stands in
    the padding reaches no valid position. Output position j is centred on input position j * factor.
    """

    def __init__(self, in_channels: int, width: int, factor: int) -> None:
        super().__init__()
        halvings = factor.bit_length() - 1
        if factor < 1 or 1 << halvings != factor:
            raise ConfigError(f"localizer.downsample must be a power of two, got {factor}")
        self.factor = factor
        if halvings == 0:
            self.convs = nn.ModuleList([nn.Conv1d(in_channels, width, 1)])
        else:
            sizes = [in_channels] + [width] * halvings
            self.convs = nn.ModuleList(
                nn.Conv1d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(sizes)
            )

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = features * mask
        for index, conv in enumerate(self.convs):
            if index:
                x = x.relu()
            x = conv(x)
            if self.factor > 1:
                mask = mask[..., ::2]
            x = x * mask
        return x, mask
