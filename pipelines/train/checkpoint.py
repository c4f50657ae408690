"""Checkpoints that move together with the memory.

RUN/checkpoints/step_XXXXXXXX/ holds model.safetensors, average.safetensors (with EMA), optimizer.pt and
state.json. A checkpoint names the generation of the memory that belongs to it. It is written when that
generation is prepared, and before it is committed: `hosts.settle` makes up for a commit that was cut there.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from featstore.documents import read_json, why
from featstore.promises import whole
from pipelines.shared.run_folder import step_name
from tal.errors import CheckpointError, WeightsError
from tal.localizer.old_names import with_new_names
from tal.memory.network import MemoryNetwork
from tal.shared.files import put_in_place
from tal.shared.weights import contiguous, load_plain

KEEP = 2


@dataclass
class TrainState:
    """How far a run is.

    Attributes
    ----------
    step, step_in_epoch
        optimizer steps done, and those of them in ``epoch``.
    generation
        of the memory; None: the run has none.
    nonfinite
        steps that had a loss or gradient that was not finite.
    overflows
        steps left out because fp16's loss scale was too high; they are not among the former.
    trunk
        digest of the encoder weights that checkpoints leave out because adapters alone learn; empty: none.
    best
        validations whose models are kept, {"step", "value"}, best first.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    generation: int | None = None
    run_id: str = ""
    nonfinite: int = 0
    overflows: int = 0
    trunk: str = ""
    best: list[dict[str, Any]] = field(default_factory=list)


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
    """Write a checkpoint, whole or not at all, and wait until it is on the disk.

    One of the same step, left by a crash between checkpoint and commit, is replaced.
    """
    path = folder / step_name(state.step)
    with put_in_place(path, sole_writer=True, sync=True) as beside:
        beside.mkdir()
        save_file(contiguous(model), beside / "model.safetensors")
        if average is not None:
            save_file(contiguous(average), beside / "average.safetensors")
        torch.save(optimizer, beside / "optimizer.pt")
        (beside / "state.json").write_text(json.dumps(asdict(state), indent=1))
    return path


def trunk_sha256(network: MemoryNetwork) -> str:
    """Digest of the encoder's published weights where files of the run leave them out; else empty."""
    return network.encoder.weights_sha256 if network.encoder is not None and network.resting else ""


def prune(folder: Path) -> None:
    """Leave the newest `KEEP` checkpoints."""
    for old in list_checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old.path)


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Whole checkpoints, oldest first."""
    checkpoints = []
    for path in sorted(folder.glob("step_*")):
        checkpoints.append(Checkpoint(path, _read_state(path)))
    return checkpoints


def _read_state(path: Path) -> TrainState:
    try:
        document = read_json(path / "state.json", CheckpointError)
        state = TrainState(**document)
        for name in ("step", "epoch", "step_in_epoch", "nonfinite"):
            whole(document, name)
        if state.generation is not None:
            whole(document, "generation")
        for validation in state.best:
            whole(validation, "step")
            if not isinstance(validation["value"], int | float):
                raise ValueError("a validation without a value")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not whole ({why(error)}): remove it") from error
    return state


def choose_checkpoint(folder: Path, generation: int | None) -> Checkpoint | None:
    """The newest checkpoint that belongs to the memory's generation; None when there is none at all.

    Raises
    ------
    CheckpointError
        when there are checkpoints, but none of this generation.
    """
    checkpoints = list_checkpoints(folder)
    fitting = [c for c in checkpoints if c.state.generation == generation]
    if fitting:
        return fitting[-1]
    if checkpoints:
        names = ", ".join(f"{c.path.name} (generation {c.state.generation})" for c in checkpoints)
        raise CheckpointError(
            f"the memory stands at generation {generation}, but {folder} has {names}: weights and memory are "
            f"of different moments; put back the memory that belongs to them, or train into another folder"
        )
    return None


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict]:
    """(model, average or None, optimizer) of a checkpoint folder, on the CPU, under today's names."""
    average = path / "average.safetensors"
    try:
        return (
            with_new_names(load_plain(path / "model.safetensors")),
            with_new_names(load_plain(average)) if average.exists() else None,
            load_plain(path / "optimizer.pt"),
        )
    except WeightsError as error:
        raise CheckpointError(f"{path} is not whole ({error}): remove it") from error


def optimizer_state(optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> dict[str, Any]:
    """Optimizer, and the loss scale of fp16, as plain tensors and numbers."""
    state: dict[str, Any] = {"optimizer": optimizer.state_dict()}
    if accelerator.scaler is not None:
        state["scaler"] = accelerator.scaler.state_dict()
    return state
