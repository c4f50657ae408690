"""Cross-layer parts of CLTDR-GMG.

Each task looks at its level and at a neighbour (DCM, DRM), refinement at both neighbours (CLFF).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.cltdr_gmg.config import Neighbours
from tal.decoders.layers.masks import masked, masked_mean


def _finer(width: int) -> nn.Conv1d:
    """Level l - 1 at the stride of level l."""
    return nn.Conv1d(width, width, 3, stride=2, padding=1)


def _coarser(width: int) -> nn.ConvTranspose1d:
    """Level l + 1 at the stride of level l."""
    return nn.ConvTranspose1d(width, width, 3, stride=2, padding=1, output_padding=1)


class Decoupling(nn.Module):
    """P_l + W f(neighbour) with W = sigmoid(conv(mean over time of ReLU(f(neighbour) + conv(P_l)))).

    The level at the end of the pyramid that has no such neighbour stays as it is. When strict, the mean is
    that of the valid positions.

    Parameters
    ----------
    neighbours
        coarser (the paper's classification, DCM), finer (its regression, DRM), both or none.
    fusion
        attention as above, addition (W = 1), concat (a 1 x 1 convolution of both).
    """

    def __init__(self, width: int, neighbours: Neighbours, fusion: str, strict: bool) -> None:
        super().__init__()
        self.fusion, self.strict = fusion, strict
        names = {"none": (), "both": ("coarser", "finer")}.get(neighbours, (neighbours,))
        make = {"coarser": _coarser, "finer": _finer}
        self.moves = nn.ModuleDict({name: make[name](width) for name in names})
        self.own = nn.ModuleDict()
        self.weighing = nn.ModuleDict()
        if fusion == "attention":
            self.own = nn.ModuleDict({name: nn.Conv1d(width, width, 1) for name in names})
            self.weighing = nn.ModuleDict({name: nn.Conv1d(width, width, 1) for name in names})
        elif fusion == "concat":
            self.own = nn.ModuleDict({name: nn.Conv1d(2 * width, width, 1) for name in names})

    def forward(self, maps: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, D, T_l] -> the same shapes."""
        outputs = []
        for level, (x, mask) in enumerate(zip(maps, masks, strict=True)):
            y = x
            for name, move in self.moves.items():
                beside = level + 1 if name == "coarser" else level - 1
                if not 0 <= beside < len(maps):
                    continue
                other = move(maps[beside])
                y = self._fuse(name, y, x, other, mask)
            outputs.append(masked(y, mask, self.strict))
        return outputs

    def _fuse(self, name: str, y: Tensor, x: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        if self.fusion == "addition":
            return y + other
        if self.fusion == "concat":
            return self.own[name](torch.cat((y, other), dim=1))
        pooled = masked_mean(F.relu(other + self.own[name](x)), mask, self.strict)
        return y + torch.sigmoid(self.weighing[name](pooled)) * other


class CrossLevelFusion(nn.Module):
    """conv(P_{l-1}) + P_l + conv(P_{l+1}); a term without its level is left out."""

    def __init__(self, width: int, strict: bool) -> None:
        super().__init__()
        self.strict = strict
        self.finer, self.coarser = _finer(width), _coarser(width)

    def forward(self, maps: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, D, T_l] -> the same shapes."""
        outputs = []
        for level, (x, mask) in enumerate(zip(maps, masks, strict=True)):
            y = x
            if level > 0:
                y = y + self.finer(maps[level - 1])
            if level + 1 < len(maps):
                y = y + self.coarser(maps[level + 1])
            outputs.append(masked(y, mask, self.strict))
        return outputs
