"""Read windows from a feature store, in the training process, at the start of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tal.memory.mixing import StoredRows
from tal.memory.sampler import Sample
from tal.memory.windows import Window


class RowStore(Protocol):
    """The part of `featstore.FeatureStore` that training reads and writes."""

    def read(self, video_id: str, start_row: int, stop_row: int) -> Any: ...
    def ledger(self, video_id: str, start_row: int, stop_row: int) -> dict[str, NDArray]: ...
    def write(self, video_id: str, start_row: int, rows: NDArray, step: int) -> None: ...
    def close(self) -> None: ...


# of a window: rows float32 [W, C], whether each was written bool [W], and by which step int64 [W]
WindowRows = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]


def read_window(store: RowStore, video_id: str, window: Window) -> WindowRows:
    """A window's (rows float32 [W, C], written bool [W], step int64 [W]); zeros, False, -1 where none is."""
    first, stop = window.first_row, window.stop_row
    at = slice(first - window.start_row, stop - window.start_row)
    visible = store.read(video_id, first, stop)
    rows = np.zeros((window.num_rows, visible.shape[1]), dtype=np.float32)
    rows[at] = visible
    step = np.full(window.num_rows, -1, dtype=np.int64)
    step[at] = store.ledger(video_id, first, stop)["step"]
    return rows, step >= 0, step


def read_batch(
    store: RowStore, samples: Sequence[Sample], now_step: int, ahead: Sequence[WindowRows | None] = ()
) -> StoredRows:
    """Stored rows of a batch of windows, as `mix` takes them.

    ``ahead``: what `read_window` gave for each sample earlier, None where it was not asked.
    """
    parts = [
        read_window(store, sample.video.id, sample.window) if known is None else known
        for sample, known in zip(samples, ahead or [None] * len(samples), strict=True)
    ]
    step = np.stack([p[2] for p in parts])
    return StoredRows(
        rows=torch.from_numpy(np.stack([p[0] for p in parts])),
        valid=torch.from_numpy(np.stack([sample.window.valid for sample in samples])),
        written=torch.from_numpy(np.stack([p[1] for p in parts])),
        age=torch.from_numpy(np.where(step >= 0, now_step - step, 0)),
    )


class AgeSnapshot:
    """Ages of clips as they were at one moment: what age-aware samplers look at for a whole epoch.

    Taken at the start of an epoch, so that the choice does not depend on how far the loader reads ahead.
    ``steps`` maps video -> int64 [rows], the step that wrote each row (-1 never).
    """

    def __init__(self, steps: dict[str, NDArray[np.int64]], now_step: int, rows_per_clip: int) -> None:
        self.steps, self.now_step, self.rows_per_clip = steps, now_step, rows_per_clip

    @classmethod
    def take(cls, store: RowStore, videos: dict[str, int], now_step: int, rows_per_clip: int) -> AgeSnapshot:
        """``videos``: id -> number of rows."""
        steps = {
            name: np.array(store.ledger(name, 0, rows)["step"], np.int64) for name, rows in videos.items()
        }
        return cls(steps, now_step, rows_per_clip)

    def __call__(self, video_id: str, start_row: int, stop_row: int) -> NDArray[np.float64]:
        """Mean age of each clip between two rows of a video; a row never written is older than any other."""
        steps = self.steps[video_id]
        rows = np.arange(start_row, stop_row)
        inside = (rows >= 0) & (rows < len(steps))
        age = np.zeros(len(rows))
        written = steps[rows[inside]]
        age[inside] = self.now_step - np.where(written < 0, -self.now_step - 1, written)
        by_clip = age.reshape(-1, self.rows_per_clip)
        weight = inside.reshape(-1, self.rows_per_clip).sum(1)
        return by_clip.sum(1) / np.maximum(weight, 1)
