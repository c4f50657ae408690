"""MViT v2 S (Li et al., CVPR 2022) from torchvision's parts, for any clip length and picture size."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from tal.encoders.base import EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.torchvision_networks import TorchvisionNetwork
from tal.encoders.video_base import VideoEncoder, set_drop_path
from tal.errors import ConfigError

_DEPTH = 16
# Blocks at which the grid is halved and the channels, then the heads, are doubled.
_COARSER = (1, 3, 14)
_MEAN, _STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


def mvit_v2_s(weights: None, spatial_size: tuple[int, int], temporal_size: int) -> nn.Module:
    """torchvision's `mvit_v2_s`, which it builds for one size only; ``weights`` as its builders take them."""
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    blocks = []
    channels, heads, kv = 96, 1, 8
    for index in range(_DEPTH):
        coarser = index in _COARSER
        wider = channels * 2 if coarser else channels
        heads, kv = (heads * 2, kv // 2) if coarser else (heads, kv)
        blocks.append(
            MSBlockConfig(
                num_heads=heads,
                input_channels=channels,
                output_channels=wider,
                kernel_q=[3, 3, 3],
                kernel_kv=[3, 3, 3],
                stride_q=[1, 2, 2] if coarser else [1, 1, 1],
                stride_kv=[1, kv, kv],
            )
        )
        channels = wider
    return MViT(
        spatial_size=spatial_size,
        temporal_size=temporal_size,
        block_setting=blocks,
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )


class _WithGrid(nn.Module):
    """A block, for a known grid, from tokens to tokens: what activation checkpointing can carry."""

    def __init__(self, block: nn.Module, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.block, self.grid = block, grid
        self.after = grid

    def forward(self, tokens: Tensor) -> Tensor:
        out, self.after = self.block(tokens, self.grid)
        return out


class MvitEncoder(VideoEncoder):
    """Patch tokens averaged over space, the class token left out: a row every 2 frames.

    Position tables belong to one clip length and one picture size; the published ones to 16 frames of 224.
    """

    def __init__(self, config: EncoderConfig, name: str) -> None:
        super().__init__(config, 2, _MEAN, _STD)
        if config.crop % 32 or config.clip_frames % 2:
            raise ConfigError(f"{name} needs encoder.crop a multiple of 32 and encoder.clip_frames of 2")
        side = (config.crop, config.crop)
        network = TorchvisionNetwork(name, "KINETICS400_V1", classifier="head.")
        build = partial(mvit_v2_s, spatial_size=side, temporal_size=config.clip_frames)
        model: Any = network.load(config, build)
        model.head = nn.Identity()
        self.model: Any = model
        set_drop_path((b.stochastic_depth for b in model.blocks), config.drop_path)
        self.channels = 768
        self._grid = (config.clip_frames // 2, config.crop // 4, config.crop // 4)

    def encode(self, frames: Tensor) -> Tensor:
        length, side = self.grid.clip_frames, self.preprocess.crop
        if frames.shape[2:] != (length, side, side):
            raise ConfigError(
                f"{self.name} was built for clips of {length} frames of {side}, not {list(frames.shape[2:])}"
            )
        tokens = self.model.conv_proj(frames).flatten(2).transpose(1, 2)
        tokens = self.model.pos_encoding(tokens)  # [B, 1 + T * h * w, C]
        grid = self._grid
        for block in self.model.blocks:
            part = _WithGrid(block, grid)
            tokens = self._run(part, tokens)
            grid = part.after
        rows: Tensor = self.model.norm(tokens)[:, 1:].unflatten(1, grid)  # [B, T, h, w, C]
        return rows.mean((2, 3)).transpose(1, 2)

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        blocks = list(self.model.blocks.children())
        edges = (0, *_COARSER, _DEPTH)
        return [[self.model.conv_proj, self.model.pos_encoding], *(blocks[a:b] for a, b in pairwise(edges))]


MVIT = EncoderFamily(
    entries=(
        EncoderEntry(
            "mvit_v2_s",
            768,
            2,
            16,
            256,
            224,
            "Kinetics-400",
            "clips of 16 frames at 224 only, with weights",
        ),
    ),
    build=MvitEncoder,
    aliases={"torchvision:mvit_v2_s": "mvit_v2_s"},
)
