"""Read the weights of a checkpoint file, whatever wraps them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tal.errors import CheckpointError

# Most trusted first: the releases evaluate the averaged weights.
_WRAPPERS = ("state_dict_ema", "state_dict", "model_ema", "model")
_SUFFIXES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".safetensors")


def read_weights(path: str | Path, ema: bool = True) -> dict[str, Tensor]:
    """Parameter name -> tensor. ``ema``: the averaged weights where the file has both.

    Pickled files are read with ``weights_only``: nothing in them is executed. CheckpointError for a file
    that is missing, is no checkpoint, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    if not path.name.endswith(_SUFFIXES):
        raise CheckpointError(f"{path} is no checkpoint by its name; known endings: {' '.join(_SUFFIXES)}")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        SafetensorError,
        pickle.UnpicklingError,
        KeyError,
        ValueError,
    ) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {_first_line(error)}") from error
    weights = _unwrapped(content, ema)
    if not weights:
        raise CheckpointError(f"{path} holds no weights under {', '.join(_WRAPPERS)} or at its top")
    return weights


def _unwrapped(content: Any, ema: bool) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    order = _WRAPPERS if ema else sorted(_WRAPPERS, key=lambda name: "ema" in name)
    for name in order:
        if isinstance(content.get(name), Mapping):
            content = content[name]
            break
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for prefix in ("module.", "model."):
        if weights and all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    # golden files keep weights beside other tensors
    marked = {name.removeprefix("weights/"): v for name, v in weights.items() if name.startswith("weights/")}
    return marked or weights


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
