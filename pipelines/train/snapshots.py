"""Ages at an epoch's begin, kept on disk so that a run resumed in mid-epoch chooses the same clips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.train.checkpoint import list_checkpoints
from tal.memory.store_reader import AgeSnapshot

if TYPE_CHECKING:
    from pipelines.train.loop import Trainer


def epoch_ages(trainer: Trainer, epoch: int) -> AgeSnapshot | None:
    """Ages of this process's clips as the epoch began; None when no sampler looks at them."""
    rows_per_clip = trainer.sampler.windows.rows_per_clip
    if trainer.memory is None or trainer.config.memory.sampler not in ("oldest", "mixture"):
        return None
    first_step = trainer.state.step - trainer.state.step_in_epoch
    path = _path(trainer.out, epoch, trainer.accelerator.process_index)
    if trainer.state.step_in_epoch:
        with np.load(path) as saved:
            return AgeSnapshot({name: saved[name] for name in saved.files}, first_step, rows_per_clip)
    videos = {v.id: v.num_rows for v in trainer.sampler.windows.videos_of(trainer.sampler.slots)}
    snapshot = AgeSnapshot.take(trainer.memory, videos, first_step, rows_per_clip)
    _save(path, snapshot)
    if trainer.accelerator.is_main_process:
        _prune(trainer.out, epoch)
    return snapshot


def _path(out: Path, epoch: int, process: int) -> Path:
    return out / "ages" / f"epoch_{epoch:06d}_{process}.npz"


def _save(path: Path, snapshot: AgeSnapshot) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **snapshot.steps)  # type: ignore[arg-type]
    os.replace(temporary, path)


def _prune(out: Path, epoch: int) -> None:
    """Drop snapshots that no checkpoint can come back to."""
    oldest = min([epoch, *(c.state.epoch for c in list_checkpoints(out / "checkpoints"))])
    for path in (out / "ages").glob("epoch_*.npz"):
        if int(path.name.split("_")[1]) < oldest:
            path.unlink()
