"""The encoder of a model folder, on top of published weights where the folder leaves those out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from tal.encoders import Encoder, build_encoder
from tal.errors import CheckpointError, WeightsError
from tal.inference.model_folder import ModelFolder
from tal.inference.model_source import TRUNK
from tal.shared.weights import load_strict


def build_model_encoder(folder: ModelFolder, weights: Mapping[str, Tensor]) -> Encoder:
    """The encoder with the folder's weights, on top of published ones where it names some.

    Raises
    ------
    CheckpointError
        published weights are missing or are others, or the folder's do not fit; the message says which.
    """
    config, trunk = folder.config.encoder, folder.trunk
    assert config is not None
    if trunk is None:
        encoder = build_encoder(config)
        load_part(encoder, weights, "encoder.", folder.path)
        return encoder
    beside = folder.path / TRUNK
    source = str(beside) if beside.is_file() else trunk.weights
    what_to_bring = (
        f"{folder.path} holds what was trained on top of the weights of {trunk.encoder} ({trunk.weights}, "
        f"sha256 {trunk.sha256}): bring them there, or as {beside}"
    )
    try:
        encoder = build_encoder(config.model_copy(update={"weights": source}))
    except WeightsError as error:
        raise CheckpointError(f"{what_to_bring}; {error}") from error
    if encoder.weights_sha256 != trunk.sha256:
        raise CheckpointError(f"{what_to_bring}; {source} has sha256 {encoder.weights_sha256}")
    own = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    load_part(encoder, {**own, **weights}, "encoder.", folder.path)
    return encoder


def load_part(module: nn.Module, weights: Mapping[str, Tensor], prefix: str, source: Path) -> None:
    """Load the tensors of a prefix strictly; CheckpointError lists what does not fit."""
    told_of_folder(lambda: load_strict(module, weights, f"{source}: the weights", prefix))


def told_of_folder(work: Callable[[], object]) -> None:
    """Do something with a folder's weights; CheckpointError where they do not fit."""
    try:
        work()
    except WeightsError as error:
        raise CheckpointError(f"{error}: the folder was put together from different models") from error
