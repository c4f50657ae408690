"""The weights that a run starts from: another run's, its heads widened by classes that are new."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.shared.console import log
from tal.errors import ConfigError
from tal.inference.model_folder import read_model
from tal.memory.network import MemoryNetwork


@torch.no_grad()
def start_from(network: MemoryNetwork, source: str, labels: Sequence[str]) -> None:
    """Load a run's, or a model folder's, weights: those that it predicts with, averaged where it averages.

    Classes that are new, behind the old ones, keep their first random weights.

    Raises
    ------
    CheckpointError
        there is no such model, or it is damaged.
    ConfigError
        its classes are not the first ones of ``labels``, or its network is another.
    """
    model = read_model(source)
    if tuple(labels[: len(model.labels)]) != model.labels:
        lost = [label for label in model.labels if label not in labels]
        raise ConfigError(
            f"train.start_from: {source} knows the classes {_shown(model.labels)}, and this run's are "
            f"{_shown(labels)}: those that it knows are needed, in its order"
            + (f"; {_shown(lost)} have gone from annotations and corrections" if lost else "")
        )
    own, weights = network.state_dict(), model.weights()
    # of adapters the encoder has it all already, low-rank parts taken into its weights
    if network.encoder is None or network.encoder.learnt_sha256:
        weights = {k: v for k, v in weights.items() if not k.startswith("encoder.")}
    if strange := sorted(weights.keys() - own.keys()):
        raise ConfigError(f"train.start_from: {source} has another network: {strange[0]} is not in this one")
    lacking = {name for name in own.keys() - weights.keys() if not name.startswith("encoder.")}
    if lacking:
        raise ConfigError(f"train.start_from: {source} has another network: it lacks {min(lacking)}")
    for name, value in weights.items():
        own[name].copy_(widened(value, own[name], len(model.labels), len(labels), f"{source}: {name}"))
    added = f", {len(labels) - len(model.labels)} classes more" if len(labels) > len(model.labels) else ""
    log.info("starting from the weights of %s%s", source, added)


def widened(old: Tensor, new: Tensor, before: int, after: int, what: str) -> Tensor:
    """A tensor for ``before`` classes in one for ``after``, whose further classes stay as they are.

    Along the one axis that grew stand groups of all classes, as anchors have them, or one place for the
    background and then the classes.

    Raises
    ------
    ConfigError
        the shapes do not tell so; ``what`` names the tensor.
    """
    if old.shape == new.shape:
        return old
    grown = [axis for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=False)) if a != b]
    if old.ndim == new.ndim and len(grown) == 1:
        axis = grown[0]
        sizes = old.shape[axis], new.shape[axis]
        result = new.clone().movedim(axis, 0)
        source = old.movedim(axis, 0)
        if sizes[0] % before == 0 and sizes == (sizes[0] // before * before, sizes[0] // before * after):
            grouped = result.unflatten(0, (-1, after))
            grouped[:, :before] = source.unflatten(0, (-1, before))
            return grouped.flatten(0, 1).movedim(0, axis)
        if sizes == (1 + before, 1 + after):
            result[: 1 + before] = source
            return result.movedim(0, axis)
    raise ConfigError(
        f"train.start_from: {what} is {list(old.shape)} for {before} classes, and {list(new.shape)} for "
        f"{after} here: the network is another"
    )


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:4])) + (f", … ({len(labels)})" if len(labels) > 4 else "")
