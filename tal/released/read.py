"""Read the weights of a checkpoint file, whatever wraps them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tal.errors import CheckpointError, WeightsError
from tal.shared.weights import read_state

# Most trusted first: the releases evaluate the averaged weights.
_WRAPPERS = ("state_dict_ema", "state_dict", "model_ema", "model")
_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors")


def read_weights(path: str | Path, ema: bool = True) -> dict[str, Tensor]:
    """Parameter name -> tensor. ``ema``: the averaged weights where the file has both.

    Pickled files are read with ``weights_only``: nothing in them is executed. CheckpointError for a file
    that is missing, is not a checkpoint, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    if not path.name.endswith(_SUFFIXES):
        raise CheckpointError(f"{path} is not a checkpoint by its name; known endings: {' '.join(_SUFFIXES)}")
    order = _WRAPPERS if ema else sorted(_WRAPPERS, key=lambda name: "ema" in name)
    try:
        weights = read_state(path, order)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error
    if all(name.startswith("model.") for name in weights):
        weights = {name.removeprefix("model."): value for name, value in weights.items()}
    # golden files keep weights beside other tensors
    marked = {name.removeprefix("weights/"): v for name, v in weights.items() if name.startswith("weights/")}
    return marked or weights
