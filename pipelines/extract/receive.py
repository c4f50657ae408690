"""Rows of one video on their way into the store, which they reach as they come and once only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore import FeatureStore, StoreValueError, VideoRecord
from featstore.log import row_sums
from tal.video.pool import Finished


class Receiver:
    """Writes a video's rows; those that an attempt before wrote, and that stand there still, stay untouched.

    So a video that was cut in the middle, by a crash or with its actor, ends with the rows and the ledger of
    one that was not: the half that was committed is not written twice.
    """

    def __init__(self, store: FeatureStore, record: VideoRecord, path: Path) -> None:
        self.record = record
        self._store, self._path = store, path
        self._begun_before = bool((store.ledger(record.id)["writes"] > 0).any())
        self._rows = 0
        self._error = ""

    def add(self, start_row: int, rows: NDArray[np.floating]) -> None:
        """Rows [n, C] from ``start_row`` on, in order; row 0 begins anew; none behind the end is kept."""
        if start_row == 0:
            self._begun_before |= self._rows > 0
            self._rows = 0
        rows = rows[: max(0, self.record.num_rows - start_row)]
        if self._error or not len(rows):
            return
        assert start_row == self._rows
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(rows, self._store.spec.numpy_dtype)
        try:
            for start, stop in self._lacking(start_row, values):
                with uninterrupted():
                    self._store.write(self.record.id, start_row + start, values[start:stop], step=0)
        except StoreValueError as error:  # not finite
            self._error = str(error)
        self._rows += len(rows)

    def _lacking(self, start_row: int, values: NDArray[Any]) -> list[tuple[int, int]]:
        """The stretches of ``values`` [n, C] that the store does not hold already, bit for bit and sound."""
        if not self._begun_before:
            return [(0, len(values))]
        stop_row = start_row + len(values)
        ledger = self._store.ledger(self.record.id, start_row, stop_row)
        stored = self._store.read(self.record.id, start_row, stop_row)
        same = (stored.view(np.uint8) == values.view(np.uint8)).all(axis=1)
        lacking = ~(same & (ledger["writes"] > 0) & (ledger["crc32c"] == row_sums(values)))
        edges = np.flatnonzero(np.diff(lacking.astype(np.int8), prepend=0, append=0))
        return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]

    def end(self, event: Finished) -> str:
        """The video is through: complete from the next commit on, or failed; returns why, or nothing."""
        reason = self._error or event.error
        if not reason and event.num_frames != self.record.num_frames:
            reason = (
                f"{self._path}: has {event.num_frames} frames, "
                f"{self.record.num_frames} when it was registered: remove it from the store and extract again"
            )
        assert reason or self._rows == self.record.num_rows
        with uninterrupted():
            if reason:
                self._store.fail(self.record.id, reason)
            else:
                self._store.complete(self.record.id)
        return reason


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: half a write must not be committed by who tidies up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    pending: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending:
            signal.raise_signal(pending[0])
