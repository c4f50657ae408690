"""ActionFormer: pyramid of attention blocks, direct distances."""

from __future__ import annotations

from tal.decoders.actionformer.block import AttentionBlock
from tal.decoders.actionformer.config import ActionFormerConfig
from tal.decoders.pyramid.backbone import Backbone
from tal.decoders.pyramid.decoder import PyramidDecoder


class ActionFormer(PyramidDecoder[ActionFormerConfig]):
    """Stem and branch are `AttentionBlock`s.

    Losses and candidates are `tal.decoders.pyramid.decoder.PyramidDecoder`'s.
    """

    def build_backbone(self, in_channels: int) -> Backbone:
        config = self.config
        windows = config.per_level(config.window, "window")

        def block(level: int, stride: int, drop_path: float) -> AttentionBlock:
            return AttentionBlock(
                config.embed_dim,
                config.heads,
                windows[level],
                stride,
                drop_path,
                config.dropout,
                config.relative_position,
                config.strict,
            )

        return Backbone(config, in_channels, block, block)

    @property
    def receptive_margin(self) -> int | None:
        config = self.config
        windows = config.per_level(config.window, "window")
        if min(windows) <= 1 or config.absolute_position or config.neck_norm == "group":
            return None
        # a block sees its window at its level, and one position more before its stride (convolution of keys)
        stem = config.stem_layers * (windows[0] // 2 + 1)
        branch = sum(w // 2 * 2**level + 2 ** (level - 1) for level, w in enumerate(windows) if level > 0)
        return config.conv_margin + stem + branch
