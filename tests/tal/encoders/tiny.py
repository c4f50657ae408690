"""Encoders as small as they get, built once, for the tests of this folder."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from tal.encoders import Encoder, EncoderConfig, build_encoder

_VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
VIDEOMAE = {"model_type": "videomae", **_VIT, "image_size": 32, "num_frames": 8, "intermediate_size": 48}
VJEPA2 = {"model_type": "vjepa2", **_VIT, "crop_size": 32, "frames_per_clip": 8, "mlp_ratio": 2.0}

# name -> the smallest configuration that it works with; one or more of every family
TINY = {
    "timm:test_resnet": {"clip_frames": 4, "size": 32, "crop": 32, "frame_stride": 2},
    "timm:test_efficientnet": {"clip_frames": 4, "size": 32, "crop": 32, "temporal_shift": True},
    "timm:test_vit": {"clip_frames": 4, "size": 32, "crop": 32, "temporal_shift": True},
    "swin3d_t": {"clip_frames": 8, "size": 32, "crop": 32, "frame_stride": 4},
    "mvit_v2_s": {"clip_frames": 4, "size": 32, "crop": 32, "frame_stride": 2},
    "r2plus1d_18": {"clip_frames": 16, "size": 32, "crop": 32, "frame_stride": 8},
    "s3d": {"clip_frames": 16, "size": 32, "crop": 32, "frame_stride": 8},
    "i3d": {"clip_frames": 16, "size": 32, "crop": 32, "frame_stride": 8},
    "hf:videomae": {"clip_frames": 8, "size": 32, "crop": 24, "frame_stride": 4, "settings": VIDEOMAE},
    "hf:vjepa2": {"clip_frames": 6, "size": 32, "crop": 24, "frame_stride": 2, "settings": VJEPA2},
}


def config(name: str, **changes: object) -> EncoderConfig:
    return EncoderConfig.model_validate({"name": name, **TINY[name], **changes})


@cache
def plain(name: str) -> Encoder:
    """The encoder with random weights; a test leaves it in eval mode and without gradients (`calm`)."""
    return build_encoder(config(name))


def calm(encoder: Encoder) -> None:
    encoder.eval().zero_grad(set_to_none=True)


def clips(name: str, batch: int = 2, seed: int = 0) -> Tensor:
    """Normalised frames [batch, 3, L_c, crop, crop]."""
    shape = plain(name).clip_shape
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, shape.grid.clip_frames, shape.crop, shape.crop, generator=generator)
