"""Video transformers with `transformers`' classes: VideoMAE, VideoMAEv2, V-JEPA 2, from the hub or a folder.

Needs the package transformers (``longtal[hf]``), which is imported when such an encoder is built.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tal.encoders.base import Encoder, EncoderEntry, EncoderFamily
from tal.encoders.config import EncoderConfig
from tal.encoders.hf_source import HubSource
from tal.encoders.videomae import VideoMAEEncoder
from tal.encoders.videomae_names import to_transformers
from tal.encoders.vit import square_side
from tal.encoders.vjepa2 import VJEPA2Encoder
from tal.errors import ConfigError, WeightsError
from tal.shared.weights import check_sha256, file_sha256, load_strict, read_state

PREFIX = "hf:"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NON_COMMERCIAL = "CC-BY-NC-4.0"
# OpenGVLab's config.json of VideoMAEv2 -> VideoMAEConfig
_V2_NAMES = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "num_frames": "num_frames",
    "tubelet_size": "tubelet_size",
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
}


@dataclass(frozen=True)
class _Network:
    """A published network: its repository, and its configuration, so that random weights need no hub."""

    repository: str
    settings: Mapping[str, Any]


def _videomae(repository: str, width: int, depth: int, heads: int, mlp: int, patch: int = 16) -> _Network:
    settings = {
        "model_type": "videomae",
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "patch_size": patch,
        "use_mean_pooling": True,
    }
    return _Network(repository, settings)


def _vjepa2(repository: str, width: int, depth: int, heads: int, mlp_ratio: float) -> _Network:
    settings = {
        "model_type": "vjepa2",
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "mlp_ratio": mlp_ratio,
    }
    return _Network(repository, settings)


_NETWORKS = {
    "videomae_s": _videomae("MCG-NJU/videomae-small-finetuned-kinetics", 384, 12, 6, 1536),
    "videomae_b": _videomae("MCG-NJU/videomae-base-finetuned-kinetics", 768, 12, 12, 3072),
    "videomae_l": _videomae("MCG-NJU/videomae-large-finetuned-kinetics", 1024, 24, 16, 4096),
    "videomae_h": _videomae("MCG-NJU/videomae-huge-finetuned-kinetics", 1280, 32, 16, 5120),
    "videomaev2_b": _videomae("OpenGVLab/VideoMAEv2-Base", 768, 12, 12, 3072),
    "videomaev2_l": _videomae("OpenGVLab/VideoMAEv2-Large", 1024, 24, 16, 4096),
    "videomaev2_g": _videomae("OpenGVLab/VideoMAEv2-giant", 1408, 40, 16, 6144, patch=14),
    "vjepa2_l": _vjepa2("facebook/vjepa2-vitl-fpc64-256", 1024, 24, 16, 4.0),
    "vjepa2_h": _vjepa2("facebook/vjepa2-vith-fpc64-256", 1280, 32, 16, 4.0),
    "vjepa2_g": _vjepa2("facebook/vjepa2-vitg-fpc64-256", 1408, 40, 22, 48 / 11),
}


def build(config: EncoderConfig, name: str) -> Encoder:
    """An encoder of a listed name or of ``hf:NAME``, with the weights that its configuration asks for."""
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(f"{config.name} needs the package transformers: pip install 'longtal[hf]'")
    if config.settings is not None and name in _NETWORKS:
        raise ConfigError(f"encoder.settings is for {PREFIX}NAME: those of {name} are known")
    source = _source(name)
    settings = dict(config.settings or settings_of(name))
    kind = settings.pop("model_type", None)
    statistics = (source.statistics() if config.weights == "pretrained" else None) or _IMAGENET
    state, where = _state(config, source)
    if kind == "videomae":
        if state is not None:
            state = to_transformers(state, where)
        # what the weights hold decides; without any, the configuration
        has_norm = (
            not settings.get("use_mean_pooling", True) if state is None else "layernorm.weight" in state
        )
        encoder: Encoder = VideoMAEEncoder(config, settings, statistics, has_norm)
    elif kind == "vjepa2":
        if state is not None:
            state = _of_encoder(state)
        encoder = VJEPA2Encoder(config, settings, statistics)
    else:
        raise ConfigError(f"{config.name} is a {kind!r}: VideoMAE, VideoMAEv2 and V-JEPA 2 are read")
    encoder.name = name if name in _NETWORKS else f"{PREFIX}{source.label}"
    if state is not None:
        load_strict(encoder.model, state, where)  # type: ignore[arg-type]
    return encoder


def self_contained(config: EncoderConfig) -> EncoderConfig:
    """The configuration with the network's, where that would have to be looked up again (``hf:NAME``).

    A run and its models keep it: they are read where neither the folder nor the hub is at hand.
    """
    if not config.name.startswith(PREFIX) or config.settings is not None:
        return config
    return config.model_copy(update={"settings": settings_of(config.name)})


def settings_of(name: str) -> dict[str, Any]:
    """The configuration of a network: the listed one's, or ``config.json`` of ``hf:NAME``.

    Raises
    ------
    WeightsError
        config.json is not available here.
    """
    if name in _NETWORKS:
        return dict(_NETWORKS[name].settings)
    found = _source(name).settings()
    if isinstance(v2 := found.get("model_config"), dict):
        return _videomae_v2(v2)
    # what describes the file rather than the network
    return {k: v for k, v in found.items() if k not in ("architectures", "auto_map", "torch_dtype", "dtype")}


def _videomae_v2(found: Mapping[str, Any]) -> dict[str, Any]:
    settings = {new: found[old] for old, new in _V2_NAMES.items() if old in found}
    if {"embed_dim", "depth", "num_heads", "mlp_ratio"} - set(found):
        raise ConfigError("config.json: its model_config does not describe a VideoMAEv2")
    mlp = round(found["embed_dim"] * found["mlp_ratio"])
    return {"model_type": "videomae", **settings, "intermediate_size": mlp, "use_mean_pooling": True}


def _source(name: str) -> HubSource:
    return HubSource(_NETWORKS[name].repository if name in _NETWORKS else name.removeprefix(PREFIX))


def _state(config: EncoderConfig, source: HubSource) -> tuple[dict[str, Tensor] | None, str]:
    """Tensors as their file names them, and the file or repository; None: random weights."""
    if config.weights is None:
        return None, ""
    if config.weights == "pretrained":
        return source.state(), f"hf:{source.name}"
    if config.weights == "pypi":
        raise WeightsError(f"no PyPI package has weights for {config.name}: use `pretrained` or a file")
    state = read_state(config.weights)
    check_sha256(config.weights_sha256, {"file": file_sha256(Path(config.weights))}, config.weights)
    return state, config.weights


def _of_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """V-JEPA 2's encoder out of a whole model, or out of one with a classifier (``vjepa2.``)."""
    bare = {k.removeprefix("vjepa2."): v for k, v in state.items()}
    return {k.removeprefix("encoder."): v for k, v in bare.items() if k.startswith("encoder.")}


def _entry(name: str, size: int, crop: int, clip_frames: int, licence: str, note: str) -> EncoderEntry:
    network = _NETWORKS[name]
    channels, patch = int(network.settings["hidden_size"]), int(network.settings.get("patch_size", 16))
    weights = f"hub: {network.repository}"
    return EncoderEntry(name, channels, 2, clip_frames, size, crop, weights, note, licence, patch)


def _videomae_entry(name: str, note: str) -> EncoderEntry:
    return _entry(name, 224, 224, 16, _NON_COMMERCIAL, note)


def _vjepa2_entry(name: str, note: str) -> EncoderEntry:
    return _entry(name, 292, 256, 64, "MIT", note)


def describe(name: str) -> EncoderEntry:
    """The entry of an ``hf:NAME`` that is not listed, from its config.json."""
    settings = settings_of(name)
    vjepa2 = settings.get("model_type") == "vjepa2"
    side = square_side(settings.get("crop_size" if vjepa2 else "image_size", 224))
    frames = int(settings.get("num_frames") or settings.get("frames_per_clip") or 16)
    stride = int(settings.get("tubelet_size", 2))
    channels, patch = int(settings.get("hidden_size", 0)), square_side(settings.get("patch_size", 16))
    return EncoderEntry(name, channels, stride, frames, side, side, "hub or folder", crop_multiple=patch)


HF = EncoderFamily(
    entries=(
        _videomae_entry("videomae_s", "VideoMAE S"),
        _videomae_entry("videomae_b", "VideoMAE B, fine-tuned on Kinetics-400, as AdaTAD's"),
        _videomae_entry("videomae_l", "VideoMAE L"),
        _videomae_entry("videomae_h", "VideoMAE H"),
        _videomae_entry("videomaev2_b", "VideoMAEv2 B, distilled from g"),
        _videomae_entry("videomaev2_l", "VideoMAEv2 L"),
        _videomae_entry("videomaev2_g", "VideoMAEv2 g"),
        _vjepa2_entry("vjepa2_l", "V-JEPA 2 L; clips of any even length"),
        _vjepa2_entry("vjepa2_h", "V-JEPA 2 H; clips of any even length"),
        _vjepa2_entry("vjepa2_g", "V-JEPA 2 g; clips of any even length"),
    ),
    build=build,
    prefix=PREFIX,
    describe=describe,
    by_adapters=True,
)
