"""Weights of files and modules: read without running code, loaded strictly, digested."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tal.errors import WeightsError
from tal.shared.archives import refuse_bombs

# Keys under which training code bases put a state dict inside a checkpoint.
WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "module")
_NAMED = 8


def state_sha256(module: nn.Module) -> str:
    """Digest of a module's state: names, types, shapes and values."""
    return tensors_sha256(module.state_dict())


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Digest of named tensors: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: str | Path, wrappers: Sequence[str] = WRAPPERS) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or a PyTorch checkpoint, by name.

    Pickled files are read with ``weights_only``: nothing in them is executed. ``module.``, which parallel
    training puts before names, is left out.

    Parameters
    ----------
    wrappers
        keys under which the tensors may stand inside the file, most wanted first.

    Raises
    ------
    WeightsError
        no such file, not a weights file, a pickle that would run code, or no tensors in it.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    state = load_plain(path)
    while isinstance(state, Mapping):
        inner = next((state[k] for k in wrappers if isinstance(state.get(k), Mapping)), None)
        if inner is None:
            break
        state = inner
    named = state.items() if isinstance(state, Mapping) else ()
    tensors = {str(k).removeprefix("module."): v for k, v in named if isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no weights under {', '.join(wrappers)} or at its top")
    return tensors


def load_plain(path: Path) -> Any:
    """What a .safetensors file or a PyTorch checkpoint holds: tensors and plain values; no code is run.

    Raises
    ------
    WeightsError
        the file is damaged, would run code, or promises more than it holds; or it is a folder, or a pipe,
        which would keep its reader waiting.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                refuse_bombs(archive)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the unpickler's little machine raises on damaged bytes knows no bounds
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path}: cannot be read as plain weights ({first[:160]}); save its tensors as .safetensors"
        ) from error


def contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: on the CPU, contiguous, sharing no storage."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str, prefix: str = "") -> None:
    """Load the tensors whose names begin with ``prefix``; they must fit exactly.

    Raises
    ------
    WeightsError
        as `require_fit`; nothing was loaded.
    """
    theirs = require_fit(module, state, source, prefix)
    counters = {k: v for k, v in module.state_dict().items() if k not in theirs}
    module.load_state_dict({**theirs, **counters}, strict=True)


def require_fit(
    module: nn.Module, state: Mapping[str, Tensor], source: str, prefix: str = ""
) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it; they must be those of the module.

    Raises
    ------
    WeightsError
        lists what is missing, what is unexpected and what has another shape.
    """
    own = module.state_dict()
    theirs = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    # checkpoints of older PyTorch lack the batch counters, which nothing uses
    missing = [k for k in own if k not in theirs and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in theirs if k not in own]
    shapes = [
        f"{k} {list(theirs[k].shape)} for {list(own[k].shape)}"
        for k in own
        if k in theirs and theirs[k].shape != own[k].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(problems.values()):
        listed = "; ".join(_listed(names, what, prefix) for what, names in problems.items() if names)
        raise WeightsError(f"{source} does not fit {type(module).__name__}: {listed}")
    return theirs


def _listed(names: Sequence[str], what: str, prefix: str) -> str:
    shown = ", ".join(prefix + name for name in names[:_NAMED])
    return f"{len(names)} {what}: {shown}{', …' if len(names) > _NAMED else ''}"


def load_in_order(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load tensors whose names differ but whose order is the module's.

    Raises
    ------
    WeightsError
        another number of tensors, or a shape that does not agree; nothing was loaded.
    """
    own = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    theirs = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if len(own) != len(theirs):
        raise WeightsError(f"{source} holds {len(theirs)} tensors, {type(module).__name__} has {len(own)}")
    for (mine, a), (other, b) in zip(own.items(), theirs.items(), strict=True):
        if a.shape != b.shape:
            raise WeightsError(f"{source}: {other} {list(b.shape)} does not fit {mine} {list(a.shape)}")
    load_strict(module, dict(zip(own, theirs.values(), strict=True)), source)


def check_sha256(expected: str | None, digests: Mapping[str, str], source: str) -> None:
    """Raise WeightsError unless one of the digests (of the file, of the loaded state) is the expected one.

    ``expected`` None: any will do.
    """
    if expected is not None and expected.lower() not in digests.values():
        listed = ", ".join(f"{what} {digest}" for what, digest in digests.items())
        raise WeightsError(f"{source}: sha256 {expected} was asked for, found {listed}")
