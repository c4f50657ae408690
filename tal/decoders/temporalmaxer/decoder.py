"""TemporalMaxer: the embedding, and one max-pool a level."""

from __future__ import annotations

from torch import Tensor, nn

from tal.decoders.pyramid.backbone import Backbone
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.decoders.pyramid.layers import ChannelNorm, masked, max_pool, strided
from tal.decoders.temporalmaxer.config import TemporalMaxerConfig


class MaxPoolBlock(nn.Module):
    """Maximum over 3 positions at every second; no weights."""

    def __init__(self, stride: int, strict: bool) -> None:
        super().__init__()
        self.stride, self.strict = stride, strict

    def forward(self, x: Tensor, mask: Tensor, lengths: list[int] | None = None) -> Tensor:
        """x [B, D, T] -> [B, D, T / stride]."""
        return masked(max_pool(x, mask, self.stride, self.strict), strided(mask, self.stride))


class TimeGroupNorm(nn.Module):
    """Group normalisation over time without scale: of valid positions when strict, of all otherwise."""

    def __init__(self, groups: int, strict: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.strict, self.eps = groups, strict, eps

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        grouped = x.unflatten(1, (self.groups, -1))  # [B, G, D / G, T]
        keep = mask[:, None].to(x.dtype) if self.strict else x.new_ones(1, 1, 1, x.shape[2])
        count = keep.sum(-1, keepdim=True).clamp(min=1) * grouped.shape[2]
        mean = (grouped * keep).sum((2, 3), keepdim=True) / count
        variance = ((grouped - mean) * keep).square().sum((2, 3), keepdim=True) / count
        return ((grouped - mean) * (variance + self.eps).rsqrt()).flatten(1, 2)


class TemporalMaxer(PyramidDecoder[TemporalMaxerConfig]):
    """See `PyramidDecoder`; the branch is max-pooling."""

    def build_backbone(self, in_channels: int) -> Backbone:
        strict = self.config.strict
        return Backbone(
            self.config, in_channels, None, lambda level, stride, drop: MaxPoolBlock(stride, strict)
        )

    def build_norms(self) -> list[nn.Module]:
        config = self.config

        def norm() -> nn.Module:
            if config.neck_norm == "channel":
                return ChannelNorm(config.embed_dim)
            if config.neck_norm == "group":
                return TimeGroupNorm(config.neck_groups, config.strict)
            return nn.Identity()

        return [norm()] * config.levels if config.shared_norm else [norm() for _ in range(config.levels)]

    @property
    def sim_ota_options(self) -> dict[str, float]:
        config = self.config
        return {
            "class_weight": config.ota_class_weight,
            "iou_weight": config.ota_iou_weight,
            "keep_share": config.ota_keep_share,
            "confused_weight": config.ota_confused_weight,
        }
