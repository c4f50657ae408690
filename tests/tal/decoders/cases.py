"""Decoders as small as they get, one or more of every kind, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor

from tal.decoders import Decoder, DecoderConfig, Targets, build_decoder
from tal.decoders.actionformer import ActionFormerConfig
from tal.decoders.afsd import AFSDConfig
from tal.decoders.cltdr_gmg import CltdrGmgConfig
from tal.decoders.daotad import DaoTADConfig
from tal.decoders.pyramid.decoder import PyramidDecoder
from tal.decoders.temporalmaxer import TemporalMaxerConfig
from tal.decoders.tridet import TriDetConfig

SMALL = {"embed_dim": 32, "head_dim": 32, "levels": 4, "max_positions": 64}
TRIDENT = {**SMALL, "num_bins": 4, "mlp_dim": 48}
ANCHORS = {"channels": 32, "num_heads": 4, "mlp_channels": 48, "fpn_channels": 32, "head_layers": 2}
POINTS = {"channels": 32, "upsample": 2, "regression_ranges": ((0, 4), (2, 8), (4, 16), (8, 10000))}

# Pyramid decoders whose results do not depend on padding, and those that compute as the releases.
STRICT: dict[str, DecoderConfig] = {
    "actionformer": ActionFormerConfig(**SMALL, window=5),
    "actionformer-full": ActionFormerConfig(**SMALL, window=(5, 5, 5, -1), absolute_position=True),
    "actionformer-no-norms": ActionFormerConfig(
        **SMALL, window=5, embed_norm=False, head_norm=False, neck_norm="none"
    ),
    "actionformer-relative": ActionFormerConfig(**SMALL, window=5, relative_position=True),
    "temporalmaxer": TemporalMaxerConfig(**SMALL),
    "temporalmaxer-group": TemporalMaxerConfig(**SMALL, neck_norm="group"),
    "temporalmaxer-ota": TemporalMaxerConfig(**SMALL, assignment="sim_ota"),
    "tridet": TriDetConfig(**TRIDENT, window=3, scale=1.5),
    "tridet-avg": TriDetConfig(**TRIDENT, downsampling="avg", absolute_position=True),
    "tridet-direct": TriDetConfig(**TRIDENT, trident=False),
    "cltdr_gmg": CltdrGmgConfig(**TRIDENT),
    "cltdr_gmg-direct": CltdrGmgConfig(**TRIDENT, trident=False, score_rule="product"),
    "cltdr_gmg-attention": CltdrGmgConfig(**TRIDENT, global_mixer="attention", instant="dense"),
}
RELEASE: dict[str, DecoderConfig] = {
    "actionformer-release": ActionFormerConfig(**SMALL, masking="release", window=5),
    "temporalmaxer-release": TemporalMaxerConfig(
        **SMALL, masking="release", assignment="sim_ota", shared_norm=True
    ),
    "tridet-release": TriDetConfig(**TRIDENT, masking="release"),
    "cltdr_gmg-release": CltdrGmgConfig.release(**TRIDENT),
    "cltdr_gmg-paper": CltdrGmgConfig.paper(**TRIDENT),
}
PYRAMID = {**STRICT, **RELEASE}
TALLFORMER: dict[str, DecoderConfig] = {
    "daotad": DaoTADConfig(**ANCHORS),
    "daotad-conv": DaoTADConfig(**ANCHORS, pyramid="conv", anchor_position="middle"),
    # norms as released, too: a group norm over the two positions of its last level makes much of rounding
    "daotad-release": DaoTADConfig(**ANCHORS, pyramid="conv", release=True, norm="batch"),
    "daotad-batch-norm": DaoTADConfig(**ANCHORS, norm="batch"),
    "afsd": AFSDConfig(**POINTS),
    "afsd-segment": AFSDConfig(**POINTS, labels="segment"),
    "afsd-plain": AFSDConfig(**POINTS, labels="segment", start_end_weight=0),
    "afsd-focal": AFSDConfig(**POINTS, video_loss="focal", norm="sync_batch"),
}
# A name begins with the registry's, what follows a dash is the variant.
CASES = {**PYRAMID, **TALLFORMER}

CHANNELS, CLASSES, LENGTH = 12, 3, 45
NOTHING = Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
# Short and long ones, two of the same extent, one that ends on a position.
MANY = Targets(
    torch.tensor(
        [[1.0, 3.2], [2.0, 9.0], [4.5, 21.0], [11.0, 30.0], [11.0, 30.0], [1.0, 36.0], [31.0, 36.5]]
    ),
    torch.tensor([0, 1, 2, 2, 1, 0, 1]),
)
FEW = Targets(torch.tensor([[4.0, 21.0], [5.0, 8.0]]), torch.tensor([2, 2]))


def make(config: DecoderConfig, seed: int = 0, scale: float = 1.0) -> Decoder:
    """A decoder in training mode, its branches alive: those of the pyramid decoders start at zero."""
    torch.manual_seed(seed)
    decoder = build_decoder(config, CHANNELS, CLASSES)
    if not isinstance(decoder, PyramidDecoder):
        return decoder
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.ndim > 1 or "path" in name or "mixer" in name:
                parameter.add_(scale * 0.1 * torch.randn_like(parameter))
    return decoder


def calm(decoder: Decoder) -> Decoder:
    """Without dropout and stochastic depth, in training mode too."""
    for module in decoder.modules():
        for name in ("p", "probability"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return decoder


def batch(lengths: list[int], padded: int | None = None, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Features [B, C, T] and mask [B, 1, T] of samples of these lengths, zeros behind them."""
    torch.manual_seed(seed)
    longest = max(lengths)
    features = torch.randn(len(lengths), CHANNELS, longest)
    features = torch.nn.functional.pad(features, (0, (padded or longest) - longest))
    mask = torch.arange(features.shape[2]) < torch.tensor(lengths)[:, None]
    return features, mask[:, None]
