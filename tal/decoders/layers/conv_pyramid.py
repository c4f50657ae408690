"""Masked convolution blocks, the convolutional pyramid and the top-down FPN of TALLFormer's two decoders.

Level l has every 2^l-th position: lengths T, ceil(T/2), ceil(T/4), ...; its mask keeps every second element
of the mask below. Every block leaves zeros where the mask is False, so padding never leaks into valid
positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from tal.decoders.layers.norms import NormKind, build_norm


class ConvBlock(nn.Module):
    """Convolution (same length, or halved with ``stride`` 2), optional normalisation, optional ReLU.

    forward: x [B, C_in, T], mask [B, 1, T] -> ([B, C_out, ceil(T / stride)], its mask).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        norm: NormKind | None = "group",
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        # a normalisation brings its own offset
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride, kernel // 2, bias=norm is None)
        nn.init.xavier_uniform_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.norm = None if norm is None else build_norm(norm, out_channels)
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x * mask)
        mask = mask[..., :: self.stride]
        x = x * mask if self.norm is None else self.norm(x, mask)
        return self.relu(x), mask


class ConvStack(nn.Module):
    """`ConvBlock`s of one width in a row, the same for every level: a head's tower."""

    def __init__(self, in_channels: int, channels: int, num_layers: int, norm: NormKind) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * num_layers
        self.blocks = nn.ModuleList(ConvBlock(a, b, norm=norm) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            x, mask = block(x, mask)
        return x


class ConvPyramid(nn.Module):
    """Level 0 is the input; each further level a stride-2 convolution, norm and ReLU (DaoTAD's TDM)."""

    def __init__(self, in_channels: int, channels: int, num_levels: int, norm: NormKind) -> None:
        super().__init__()
        self.level_channels = [in_channels] + [channels] * (num_levels - 1)
        self.stages = nn.ModuleList(
            ConvBlock(a, b, stride=2, norm=norm)
            for a, b in zip(self.level_channels, self.level_channels[1:], strict=False)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        levels, masks = [x * mask], [mask]
        for stage in self.stages:
            x, mask = stage(levels[-1], masks[-1])
            levels.append(x)
            masks.append(mask)
        return levels, masks


class FPN(nn.Module):
    """Lateral 1-tap convolutions, nearest top-down addition, 3-tap convolutions; no activations."""

    def __init__(self, level_channels: Sequence[int], channels: int, norm: NormKind) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvBlock(c, channels, 1, norm=norm, relu=False) for c in level_channels)
        self.output = nn.ModuleList(
            ConvBlock(channels, channels, 3, norm=norm, relu=False) for _ in level_channels
        )

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Levels [B, C_l, T_l] -> levels [B, channels, T_l]."""
        sums = [block(x, mask)[0] for block, x, mask in zip(self.lateral, levels, masks, strict=True)]
        for level in range(len(sums) - 1, 0, -1):
            below = sums[level - 1]
            # position i lies over i // 2, whatever the padded length
            above = sums[level].repeat_interleave(2, dim=-1)[..., : below.shape[-1]]
            sums[level - 1] = (below + above) * masks[level - 1]
        return [block(x, mask)[0] for block, x, mask in zip(self.output, sums, masks, strict=True)]
