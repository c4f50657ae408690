"""Build an encoder from its configuration."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tal.encoders.base import Encoder, is_adapter
from tal.encoders.config import EncoderConfig
from tal.encoders.registry import find_family
from tal.errors import ConfigError
from tal.shared.weights import check_sha256, load_strict, read_state, state_sha256, tensors_sha256


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
            _add_adapters(encoder)
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


def _add_adapters(encoder: Encoder) -> None:
    """Adapters that add nothing yet, or that go on from what an earlier run's had learnt.

    Of low-rank parts the file has the weights that took them in: those are the encoder's own from now on.
    """
    source = encoder.config.adapter_weights
    if source is None:
        encoder.add_adapters()
        return
    learnt = read_state(source)
    of_adapters = {name: value for name, value in learnt.items() if is_adapter(name)}
    plain = {name: value for name, value in learnt.items() if name not in of_adapters}
    load_strict(encoder, {**encoder.state_dict(), **plain}, source)
    encoder.add_adapters()
    if of_adapters:
        load_strict(encoder.adapters, of_adapters, source, "adapters.")
    encoder.laid_over = frozenset(plain)
    encoder.learnt_sha256 = tensors_sha256(learnt)


def create_encoder(config: EncoderConfig) -> Encoder:
    """The network with its weights: nothing frozen, no digest, random ones from the caller's random state."""
    family, name = find_family(config.name)
    return family.build(config, name)
