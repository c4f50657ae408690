"""Convolutions over time with a mask, and blocks of them."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from tal.decoders.layers.masks import strided
from tal.decoders.layers.norms import NormKind, build_norm


class MaskedConv1d(nn.Conv1d):
    """Convolution with an odd kernel and same padding; zeros outside the mask. The bias starts at 0.

    ``widen``: the output has the input's type, also where autocast computes in half precision.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        widen: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.widen = widen
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """x [B, C_in, T], mask bool [B, 1, T] -> [B, C_out, ceil(T / stride)]."""
        y = super().forward(x)
        return y * strided(mask, self.stride[0]).to(x.dtype if self.widen else y.dtype)


class ConvBlock(nn.Module):
    """Convolution (same length, or halved with ``stride`` 2), normalisation, optional ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        norm: NormKind = "group",
        relu: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        # a normalisation brings its own offset; group norm over several channels does not undo another
        self.conv = MaskedConv1d(in_channels, out_channels, kernel, stride, bias=bias, widen=False)
        nn.init.xavier_uniform_(self.conv.weight)
        self.norm = build_norm(norm, out_channels)
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C_in, T], zeros outside the mask [B, 1, T] -> ([B, C_out, ceil(T / stride)], its mask)."""
        x, mask = self.conv(x, mask), strided(mask, self.stride)
        return self.relu(self.norm(x, mask)), mask


class ConvStack(nn.Module):
    """`ConvBlock`s of one width in a row, the same for every level: a head's tower."""

    def __init__(
        self, in_channels: int, channels: int, num_layers: int, norm: NormKind, bias: bool = False
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * num_layers
        self.blocks = nn.ModuleList(
            ConvBlock(a, b, norm=norm, bias=bias) for a, b in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, C_in, T], zeros outside the mask [B, 1, T] -> [B, C, T]."""
        for block in self.blocks:
            x, mask = block(x, mask)
        return x


def depthwise(channels: int, kernel: int, sd: float) -> nn.Conv1d:
    """Depth-wise convolution, weights N(0, sd), bias 0."""
    layer = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
    nn.init.normal_(layer.weight, 0.0, sd)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def feed_forward(channels: int, hidden: int) -> nn.Sequential:
    """1 x 1 convolution, GELU, 1 x 1 convolution."""
    layers = nn.Sequential(nn.Conv1d(channels, hidden, 1), nn.GELU(), nn.Conv1d(hidden, channels, 1))
    for layer in (layers[0], layers[2]):
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layers
