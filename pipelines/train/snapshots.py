"""Ages at the start of an epoch, kept on disk so that a run resumed in mid-epoch chooses the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tal.memory.sampler import TrainingVideo
from tal.memory.store_reader import AgeSnapshot, RowStore
from tal.shared.files import put_in_place


@dataclass(frozen=True)
class AgeSnapshots:
    """Snapshots of one process's training videos, RUN/ages/epoch_XXXXXX_PROCESS.npz.

    Attributes
    ----------
    run
        the run's folder.
    process
        index of this process on its host; the first one also removes what is not needed any more.
    store, videos, rows_per_clip
        the memory, and the clips of it whose ages are noted.
    """

    run: Path
    process: int
    store: RowStore
    videos: Sequence[TrainingVideo]
    rows_per_clip: int

    def take(self, epoch: int, step: int, oldest: int) -> AgeSnapshot:
        """Ages now, before the epoch's first step; ``step`` optimizer steps are done.

        Snapshots before epoch ``oldest``, to which the last checkpoint goes back, are removed.
        """
        rows = {video.id: video.num_rows for video in self.videos}
        snapshot = AgeSnapshot.take(self.store, rows, step, self.rows_per_clip)
        _save(self._path(epoch), snapshot)
        if self.process == 0:
            _prune(self.run, min(epoch, oldest))
        return snapshot

    def read(self, epoch: int, step: int) -> AgeSnapshot:
        """The snapshot of an epoch that began after ``step`` optimizer steps and was interrupted."""
        with np.load(self._path(epoch)) as saved:
            return AgeSnapshot({name: saved[name] for name in saved.files}, step, self.rows_per_clip)

    def _path(self, epoch: int) -> Path:
        return self.run / "ages" / f"epoch_{epoch:06d}_{self.process}.npz"


def _save(path: Path, snapshot: AgeSnapshot) -> None:
    with put_in_place(path, sole_writer=True) as beside, beside.open("wb") as file:
        np.savez(file, **snapshot.steps)  # type: ignore[arg-type]


def _prune(run: Path, oldest: int) -> None:
    for path in (run / "ages").glob("epoch_*.npz"):
        if int(path.name.split("_")[1]) < oldest:
            path.unlink()
