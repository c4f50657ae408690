"""Build an encoder from its configuration."""

from __future__ import annotations

import difflib

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tal.encoders.base import Encoder
from tal.encoders.config import EncoderConfig
from tal.encoders.registry import ALIASES, find_entry, list_encoders
from tal.errors import ConfigError
from tal.weights import check_sha256, state_sha256


def build_encoder(config: EncoderConfig, seed: int = 0) -> Encoder:
    """An encoder in eval mode, with its weights, frozen stages and switches.

    Parameters
    ----------
    seed
        of random weights; the caller's random state is left alone.

    Raises
    ------
    ConfigError
        no such encoder, or settings that it cannot take; names the nearest encoder.
    WeightsError
        weights that do not fit (lists what is missing and unexpected), are not to be had, or have another
        digest.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = create_encoder(config)
    has_statistics = any(isinstance(m, _BatchNorm) for m in encoder.modules())
    if config.checkpointing and not config.norm_frozen and has_statistics:
        raise ConfigError(
            f"{config.name}: encoder.checkpointing runs layers twice and would count each batch twice in the "
            "statistics: leave encoder.norm_frozen on"
        )
    encoder.weights_sha256 = state_sha256(encoder)
    if config.weights_sha256 is not None and config.weights in (None, "pretrained"):
        check_sha256(config.weights_sha256, {"weights": encoder.weights_sha256}, config.name)
    encoder.freeze(config.frozen_stages)
    encoder.eval()
    return encoder


def create_encoder(config: EncoderConfig) -> Encoder:
    """The network with its weights; nothing frozen, no digest, random weights from the caller's random
    state.
    """
    name = ALIASES.get(config.name, config.name)
    if name.startswith("timm:"):
        from tal.encoders.timm_encoder import TimmEncoder

        return TimmEncoder(config)
    if name == "i3d":
        from tal.encoders.i3d import I3dEncoder

        return I3dEncoder(config)
    if name == "mvit_v2_s":
        from tal.encoders.mvit import MvitEncoder

        return MvitEncoder(config, name)
    if find_entry(name) is not None:
        from tal.encoders.swin import ConvEncoder, SwinEncoder

        return SwinEncoder(config, name) if name.startswith("swin3d_") else ConvEncoder(config, name)
    known = [e.name for e in list_encoders()]
    near = difflib.get_close_matches(config.name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"no encoder {config.name!r}{hint} `longtal encoders` lists them, and any timm:MODEL works"
    )
