"""Checkpoints that move together with the memory.

RUN/checkpoints/step_XXXXXXXX/ holds model.safetensors, average.safetensors (with EMA), optimizer.pt and
state.json. A checkpoint names the generation of the memory that belongs to it. It is written before the
memory commits that generation: a crash between the two leaves a checkpoint ahead of the memory, which resume
does not take.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.shared.run_folder import step_name
from tal.errors import CheckpointError

KEEP = 2


@dataclass
class TrainState:
    """Where a run stands. ``step`` optimizer steps are done; ``step_in_epoch`` of them in ``epoch``."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    generation: int | None = None  # of the memory; None: the run has none
    run_id: str = ""
    nonfinite: int = 0
    best: list[dict[str, Any]] = field(default_factory=list)  # {"step", "value"}, best first


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    state: TrainState


def save_checkpoint(
    folder: Path,
    state: TrainState,
    model: dict[str, Tensor],
    average: dict[str, Tensor] | None,
    optimizer: dict,
) -> Path:
    """Write a checkpoint under a temporary name, sync it, then rename it: it is whole or not there."""
    final = folder / step_name(state.step)
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(contiguous(model), temporary / "model.safetensors")
    if average is not None:
        save_file(contiguous(average), temporary / "average.safetensors")
    torch.save(optimizer, temporary / "optimizer.pt")
    (temporary / "state.json").write_text(json.dumps(asdict(state), indent=1))
    for path in [*temporary.iterdir(), temporary]:
        _sync(path)
    if final.exists():  # the same step again, after a crash between checkpoint and commit
        shutil.rmtree(final)
    temporary.rename(final)
    _sync(folder)
    return final


def prune(folder: Path, keep: int = KEEP) -> None:
    """Leave the newest checkpoints."""
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old.path)


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Whole checkpoints, oldest first."""
    found = []
    for path in sorted(folder.glob("step_*")):
        try:
            state = TrainState(**json.loads((path / "state.json").read_text()))
        except (OSError, json.JSONDecodeError, TypeError) as error:
            raise CheckpointError(f"{path} is not whole ({error}): remove it") from error
        found.append(Checkpoint(path, state))
    return found


def choose_checkpoint(folder: Path, generation: int | None) -> Checkpoint | None:
    """The newest checkpoint that belongs to the memory's generation; None when there is none at all.

    Raises
    ------
    CheckpointError
        when there are checkpoints, but none of this generation.
    """
    found = list_checkpoints(folder)
    fitting = [c for c in found if c.state.generation == generation]
    if fitting:
        return fitting[-1]
    if found:
        names = ", ".join(f"{c.path.name} (generation {c.state.generation})" for c in found)
        raise CheckpointError(
            f"the memory stands at generation {generation}, but {folder} has {names}: weights and memory are "
            f"of different moments; put back the memory that belongs to them, or train into another folder"
        )
    return None


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict]:
    """(model, average or None, optimizer) of a checkpoint folder, on the CPU."""
    average = path / "average.safetensors"
    return (
        load_file(path / "model.safetensors"),
        load_file(average) if average.exists() else None,
        torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True),
    )


def contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: on the CPU, contiguous, sharing no storage."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
