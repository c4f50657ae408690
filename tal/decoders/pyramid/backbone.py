"""Embedding, stem and branch: features [B, C, T] -> one map per level, strides 1, 2, 4 …"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.layers.convolution import MaskedConv1d
from tal.decoders.layers.masks import masked, strided, valid_lengths
from tal.decoders.layers.norms import ChannelNorm, NoNorm
from tal.decoders.layers.positions import sinusoids
from tal.decoders.pyramid.config import PyramidConfig

# (level, stride, drop path probability) -> a module (x, mask, lengths) -> x; mask and lengths are the input's
BlockFactory = Callable[[int, int, float], nn.Module]


class Backbone(nn.Module):
    """``stem_block`` builds the blocks at stride 1, ``branch_block`` those that halve the length."""

    position_table: Tensor

    def __init__(
        self,
        config: PyramidConfig,
        in_channels: int,
        stem_block: BlockFactory | None,
        branch_block: BlockFactory,
        needs_lengths: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.needs_lengths = config, needs_lengths
        width = config.embed_dim
        self.projections: nn.ModuleList | None = None
        channels = in_channels
        if config.input_groups:
            self.projections = nn.ModuleList(MaskedConv1d(n, m, 1) for n, m in config.input_groups)
            channels = sum(m for _, m in config.input_groups)
        self.embedding = nn.ModuleList(
            MaskedConv1d(
                channels if i == 0 else width, width, config.embed_kernel, bias=not config.embed_norm
            )
            for i in range(config.embed_layers)
        )
        self.embedding_norms = nn.ModuleList(
            ChannelNorm(width, config.strict) if config.embed_norm else NoNorm()
            for _ in range(config.embed_layers)
        )
        if config.absolute_position:
            table = sinusoids(config.max_positions, width)
            self.register_buffer("position_table", table, persistent=False)
        self.stem = nn.ModuleList()
        if stem_block is not None:
            self.stem.extend(stem_block(0, 1, config.drop_path) for _ in range(config.stem_layers))
        depth = config.first_level + config.levels - 1
        self.branch = nn.ModuleList(branch_block(level, 2, config.drop_path) for level in range(1, depth + 1))

    def forward(
        self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Maps and masks of all levels, finest first.

        ``lengths`` are the mask's `valid_lengths`, where the caller knows them; else they are read from it.
        """
        config = self.config
        if self.projections is not None:
            parts = x.split([n for n, _ in config.input_groups], dim=1)
            x = torch.cat([p(part, mask) for p, part in zip(self.projections, parts, strict=True)], dim=1)
        for conv, norm in zip(self.embedding, self.embedding_norms, strict=True):
            x = F.relu(norm(conv(x, mask), mask))
        if config.absolute_position:
            x = x + masked(self._positions(x), mask)
        valid: list[int] | None = None
        if self.needs_lengths:
            valid = valid_lengths(mask) if lengths is None else list(lengths)
        for block in self.stem:
            x = block(x, mask, valid)
        maps, masks = [x], [mask]
        for block in self.branch:
            x, mask = block(x, mask, valid), strided(mask, 2)
            valid = valid and [(n + 1) // 2 for n in valid]
            maps.append(x)
            masks.append(mask)
        return maps, masks

    def _positions(self, x: Tensor) -> Tensor:
        """Position codes [1, C, T].

        Beyond the table more of the same; the releases stretch the table in inference.
        """
        length, table = x.shape[2], self.position_table
        if length > table.shape[1]:
            if self.config.strict or self.training:
                table = sinusoids(length, table.shape[0], x.device)
            else:
                table = F.interpolate(table[None], length, mode="linear", align_corners=False)[0]
        return table[None, :, :length].to(x.dtype)


class LevelNorms(nn.Module):
    """One norm for each level from ``first_level`` on, or a single one for all of them."""

    def __init__(self, norms: Sequence[nn.Module], first_level: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norms)
        self.first_level = first_level

    def forward(self, maps: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps [B, D, T_l] and masks of all levels -> those of the levels with heads, maps normalised."""
        maps, masks = maps[self.first_level :], list(masks[self.first_level :])
        norms = list(self.norms) if len(self.norms) == len(masks) else [self.norms[0]] * len(masks)
        return [norm(x, mask) for norm, x, mask in zip(norms, maps, masks, strict=True)], masks
