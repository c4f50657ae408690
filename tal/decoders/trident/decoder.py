"""Decoders whose boundaries are found by start, end and centre heads together (TriDet, CLTDR-GMG)."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from tal.decoders.pyramid.assign import Pairs
from tal.decoders.pyramid.decoder import PyramidDecoder, Where
from tal.decoders.pyramid.heads import LevelLayout
from tal.decoders.pyramid.outputs import Pyramid, PyramidOutput
from tal.decoders.trident.config import TridentConfig
from tal.decoders.trident.distances import trident_distances

TridentConfigT = TypeVar("TridentConfigT", bound=TridentConfig)


class TridentDecoder(PyramidDecoder[TridentConfigT], ABC):
    """`PyramidDecoder` with start and end heads; distances depend on the class."""

    def __init__(self, config: TridentConfigT, in_channels: int, num_classes: int) -> None:
        super().__init__(config, in_channels, num_classes)
        self.start_head = self.end_head = None
        if config.trident:
            self.start_head = self.build_class_head(config.boundary_kernel)
            self.end_head = self.build_class_head(config.boundary_kernel)

    @property
    def num_offsets(self) -> int:
        return 2 * (self.config.num_bins + 1) if self.config.trident else 2

    @property
    def head_gap(self) -> int:
        return max(self.config.head_kernel, self.config.boundary_kernel) // 2

    @property
    def offsets_per_class(self) -> bool:
        return self.config.trident

    def heads(self, pyramid: Pyramid, length: int) -> PyramidOutput:
        layout = LevelLayout.build(pyramid.masks, self.head_gap)
        logits = self.class_head(layout.join(pyramid.class_maps), layout)
        offsets = self.offset_head(layout.join(pyramid.offset_maps), layout)
        start, end = self.boundaries(pyramid, layout)
        return PyramidOutput(length, pyramid.masks, logits, offsets, start, end)

    def boundaries(
        self, pyramid: Pyramid, layout: LevelLayout
    ) -> tuple[list[Tensor], list[Tensor]] | tuple[None, None]:
        """Start and end logits of each level, or nothing without a trident head."""
        if self.start_head is None or self.end_head is None:
            return None, None
        chosen = pyramid.offset_maps if self.config.boundary_input == "regression" else pyramid.boundary_maps
        maps = layout.join(chosen)
        maps = maps.detach() if self.config.boundary_input == "detached" else maps
        return self.start_head(maps, layout), self.end_head(maps, layout)

    def distances(self, outputs: PyramidOutput, pairs: Pairs) -> Tensor:
        if not self.config.trident:
            return super().distances(outputs, pairs)
        return by_level(self.level_distances, outputs, pairs)

    def level_distances(self, outputs: PyramidOutput, level: int, where: Where) -> Tensor:
        if outputs.start is None or outputs.end is None:
            return super().level_distances(outputs, level, where)
        mask = outputs.masks[level] if self.config.strict else None
        return trident_distances(
            outputs.start[level], outputs.end[level], outputs.offsets[level], mask, where
        )


def by_level(
    decode: Callable[[PyramidOutput, int, Where], Tensor], outputs: PyramidOutput, pairs: Pairs
) -> Tensor:
    """``decode(outputs, level, where)`` of the pairs of each level, in the order that all of them have."""
    distances, first = [], 0
    for level, (logits, chosen) in enumerate(zip(outputs.logits, pairs.of_levels, strict=True)):
        sample, point, label = (index[chosen] for index in pairs.where)
        distances.append(decode(outputs, level, (sample, point - first, label)))
        first += logits.shape[2]
    return torch.cat(distances)[torch.argsort(torch.cat(pairs.of_levels))]
