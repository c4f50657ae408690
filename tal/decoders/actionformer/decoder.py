"""ActionFormer: pyramid of attention blocks, direct distances."""

from __future__ import annotations

from tal.decoders.actionformer.block import AttentionBlock
from tal.decoders.actionformer.config import ActionFormerConfig
from tal.decoders.pyramid.backbone import Backbone
from tal.decoders.pyramid.decoder import PyramidDecoder


class ActionFormer(PyramidDecoder[ActionFormerConfig]):
    """See `PyramidDecoder`; stem and branch are `AttentionBlock`s."""

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
