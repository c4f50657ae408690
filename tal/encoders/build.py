"""Build an encoder from its configuration."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tal.encoders.base import Encoder
from tal.encoders.config import EncoderConfig
from tal.encoders.registry import find_family
from tal.errors import ConfigError
from tal.shared.weights import check_sha256, state_sha256


def build_encoder(config: EncoderConfig, seed: int = 0) -> Encoder:
    """An encoder in eval mode, with its weights, frozen stages and switches.

    Parameters
    ----------
    seed
        seed of random weights; the caller's random state is left alone.

    Raises
    ------
    ConfigError
        there is no such encoder (names the nearest), or it cannot take these settings.
    WeightsError
        the weights are not available or have another digest; or they do not fit, and the error lists the
        missing and unexpected tensors.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = create_encoder(config)
        encoder.weights_sha256 = state_sha256(encoder)
        encoder.freeze(config.frozen_stages)
        if config.adapter is not None:
            encoder.add_adapters()
    has_statistics = any(isinstance(m, _BatchNorm) for m in encoder.modules())
    if config.checkpointing and not config.norm_frozen and has_statistics:
        raise ConfigError(
            f"{config.name}: encoder.checkpointing runs layers twice and would count each batch twice in the "
            "statistics: leave encoder.norm_frozen on"
        )
    if config.weights_sha256 is not None and config.weights in (None, "pretrained"):
        check_sha256(config.weights_sha256, {"weights": encoder.weights_sha256}, config.name)
    encoder.eval()
    return encoder


def create_encoder(config: EncoderConfig) -> Encoder:
    """The network with its weights: nothing frozen, no digest, random ones from the caller's random state."""
    family, name = find_family(config.name)
    return family.build(config, name)
