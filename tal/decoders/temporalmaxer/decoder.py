"""TemporalMaxer: the embedding, and one max-pool per level."""

from __future__ import annotations

from torch import Tensor, nn

from tal.decoders.layers.masks import masked, max_pool, strided
from tal.decoders.pyramid.backbone import Backbone
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.decoders.temporalmaxer.config import TemporalMaxerConfig


class MaxPoolBlock(nn.Module):
    """Maximum over 3 positions at every second; no weights."""

    def __init__(self, stride: int, strict: bool) -> None:
        super().__init__()
        self.stride, self.strict = stride, strict

    def forward(self, x: Tensor, mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """x [B, D, T] -> [B, D, T / stride]."""
        return masked(max_pool(x, mask, self.stride, self.strict), strided(mask, self.stride))


class TemporalMaxer(PyramidDecoder[TemporalMaxerConfig]):
    """The branch is max-pooling.

    Losses and candidates are `tal.decoders.pyramid.decoder.PyramidDecoder`'s.
    """

    def build_backbone(self, in_channels: int) -> Backbone:
        strict = self.config.strict
        return Backbone(
            self.config, in_channels, None, lambda level, stride, drop: MaxPoolBlock(stride, strict)
        )

    def build_norms(self) -> list[nn.Module]:
        norms = super().build_norms()
        return norms[:1] if self.config.shared_norm else norms

    @property
    def receptive_margin(self) -> int | None:
        return None if self.config.neck_norm == "group" else self.config.conv_margin

    @property
    def sim_ota_options(self) -> dict[str, float]:
        config = self.config
        return {
            "class_weight": config.ota_class_weight,
            "iou_weight": config.ota_iou_weight,
            "keep_share": config.ota_keep_share,
            "confused_weight": config.ota_confused_weight,
        }
