"""VideoMAE (Tong et al., NeurIPS 2022) and VideoMAEv2 (Wang et al., CVPR 2023).

Patch embedding and blocks are those of `transformers`. The position table is ours: its class builds a new
table for another picture size, while networks were fine-tuned with the pretraining's, resized (mmaction's
and AdaTAD's `VisionTransformer`). Both give features, and only one gives the right ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal.encoders.config import EncoderConfig
from tal.encoders.video_base import refuse_drop_path
from tal.encoders.vit import TokenEncoder, init_transformer, patches_across, square_side
from tal.errors import ConfigError

# width -> attention heads that the published networks were trained with. A wrong number fits every shape
# (the hub's VideoMAE-S says 16) and gives other features.
_TRAINED_HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}


class VideoMAEEncoder(TokenEncoder):
    """Tokens of a clip averaged over space only: a row every tubelet, 2 frames.

    Parameters
    ----------
    settings
        keyword arguments of `transformers.VideoMAEConfig`.
    statistics
        mean and standard deviation of the pictures.
    has_norm
        whether tokens go through a last norm, as pretraining left them. Fine-tuned networks have none.

    Raises
    ------
    ConfigError
        pictures that patches do not fill, clips of another length, heads that no such network has.
    """

    def __init__(
        self,
        config: EncoderConfig,
        settings: Mapping[str, Any],
        statistics: tuple[Sequence[float], Sequence[float]],
        has_norm: bool,
    ) -> None:
        from transformers import VideoMAEConfig
        from transformers.models.videomae.modeling_videomae import VideoMAELayer, VideoMAEPatchEmbeddings

        network = VideoMAEConfig(**{**settings, "attn_implementation": "sdpa"})
        super().__init__(config, network.tubelet_size, *statistics)
        refuse_drop_path(config)
        _require_clip(config, network.num_frames)
        _require_heads(config, network.hidden_size, network.num_attention_heads)
        patch = square_side(network.patch_size)
        native, across = (
            patches_across(config.name, n, patch) for n in (square_side(network.image_size), config.crop)
        )
        positions = position_table(
            network.num_frames // network.tubelet_size, native, across, network.hidden_size
        )
        embeddings = _Embeddings(VideoMAEPatchEmbeddings(network), positions, config.crop)
        blocks = nn.ModuleList(VideoMAELayer(network) for _ in range(network.num_hidden_layers))
        # named as in transformers.VideoMAEModel
        self.model = nn.ModuleDict({"embeddings": embeddings, "encoder": nn.ModuleDict({"layer": blocks})})
        if has_norm:
            self.model["layernorm"] = nn.LayerNorm(network.hidden_size, eps=network.layer_norm_eps)
        init_transformer(self.model, network.initializer_range)
        self.channels = network.hidden_size
        self.parts = [[embeddings], *([block] for block in blocks)]
        self.tokens_per_row = across**2

    def last_norm(self, tokens: Tensor) -> Tensor:
        return self.model["layernorm"](tokens) if "layernorm" in self.model else tokens


class _Embeddings(nn.Module):
    """Frames [B, 3, L, H, W] -> tokens with their positions [B, T * h * w, C]."""

    positions: Tensor

    def __init__(self, patch_embeddings: Any, positions: Tensor, crop: int) -> None:
        super().__init__()
        self.patch_embeddings = patch_embeddings
        self.crop = crop
        where = patch_embeddings.projection.weight.device  # also "meta", where networks are only counted
        self.register_buffer("positions", positions.to(where), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[3:] != (self.crop, self.crop):
            raise ConfigError(f"pictures of {list(frames.shape[3:])} for an encoder of crop {self.crop}")
        # the library's own forward takes pictures of the pretraining's size alone
        tokens = self.patch_embeddings.projection(frames).flatten(2).transpose(1, 2)
        if tokens.shape[1] != len(self.positions):
            raise ConfigError(
                f"clips of {frames.shape[2]} frames for a table of {len(self.positions)} positions"
            )
        return tokens + self.positions.to(tokens.dtype)


def position_table(steps: int, native: int, across: int, channels: int) -> Tensor:
    """Position codes float32 [steps * across², channels] of a network pretrained at ``native``² patches.

    Sine and cosine over the one-dimensional index of a token (Vaswani et al., 2017, §3.5, as VideoMAE's
    `get_sinusoid_encoding_table`); for another picture size each step's square is resized bicubically.
    """
    index = np.arange(steps * native**2, dtype=np.float64)[:, None]
    angles = index / np.power(10000, 2 * (np.arange(channels) // 2) / channels)
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    table = torch.from_numpy(angles.astype(np.float32))
    if across == native:
        return table
    squares = table.view(steps, native, native, channels).permute(0, 3, 1, 2)
    resized = F.interpolate(squares, size=(across, across), mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(-1, channels)


def _require_clip(config: EncoderConfig, num_frames: int) -> None:
    if config.clip_frames != num_frames:
        raise ConfigError(
            f"{config.name} was pretrained on clips of {num_frames} frames and has positions for no others: "
            f"set encoder.clip_frames to {num_frames}, not {config.clip_frames}"
        )


def _require_heads(config: EncoderConfig, width: int, heads: int) -> None:
    trained = _TRAINED_HEADS.get(width, heads)
    if heads != trained:
        raise ConfigError(
            f"{config.name}: its configuration says {heads} attention heads, but VideoMAE of width {width} "
            f"was trained with {trained}; both fit the weights and only {trained} gives their features. The "
            "names of `longtal encoders` have the right number; or correct num_attention_heads in config.json"
        )
