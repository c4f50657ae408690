"""The convolutional pyramid and the top-down FPN of TALLFormer's two decoders.

Level l has every 2^l-th position: lengths T, ceil(T/2), ceil(T/4), ...; its mask keeps every second element
of the mask below. Outputs are zero where the mask is False.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from tal.decoders.layers.convolution import ConvBlock
from tal.decoders.layers.masks import masked
from tal.decoders.layers.norms import MaskedBatchNorm, NormKind


class ConvPyramid(nn.Module):
    """Level 0 is the input; each further level a stride-2 convolution, norm and ReLU (DaoTAD's TDM).

    ``release``: as DaoTAD's code trains it, with batch norms in evaluation mode whatever ``norm`` says, and
    convolutions that start as Kaiming's normal ones.
    """

    def __init__(
        self, in_channels: int, channels: int, num_levels: int, norm: NormKind, release: bool = False
    ) -> None:
        super().__init__()
        self.level_channels = [in_channels] + [channels] * (num_levels - 1)
        stages = [ConvBlock(a, b, stride=2, norm=norm) for a, b in itertools.pairwise(self.level_channels)]
        if release:
            for stage in stages:
                stage.norm = MaskedBatchNorm(channels, at_rest=True)
                nn.init.kaiming_normal_(stage.conv.weight, mode="fan_out", nonlinearity="relu")
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        levels, masks = [masked(x, mask)], [mask]
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
            sums[level - 1] = masked(below + above, masks[level - 1])
        return [block(x, mask)[0] for block, x, mask in zip(self.output, sums, masks, strict=True)]
