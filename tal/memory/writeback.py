"""Write fresh rows to the store on a thread of their own, after the optimizer step that they belong to."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.device import HostCopy
from tal.memory.store_reader import RowStore


@dataclass(frozen=True)
class RowsToWrite:
    """``rows`` [n, C] of a video from ``start_row`` on."""

    video_id: str
    start_row: int
    rows: NDArray[np.floating]


class WriteBack:
    """Writes in the order submitted. A step's rows are read by no later step before they are written.

    The training loop waits in three cases only: the queue is full (`submit`), a video about to be read is
    still in the queue (`wait_for`), or everything must be written (`drain`). ``waited_s`` adds those waits
    up. An error of the thread is raised by the next call. ``capacity``: steps whose rows may wait.
    """

    def __init__(self, store: RowStore, capacity: int = 4) -> None:
        self.waited_s = 0.0
        self._store = store
        self._queue: queue.Queue[tuple[int, list[RowsToWrite], Sequence[HostCopy]] | None] = queue.Queue(
            capacity
        )
        self._pending: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)
        self._thread.start()

    def submit(self, step: int, items: Iterable[RowsToWrite], copies: Sequence[HostCopy] = ()) -> None:
        """Hand over the rows of a finite step; the arrays must not change afterwards.

        ``copies`` from a device that bring the numbers: the thread waits for them, not the caller.
        """
        self._raise()
        batch = list(items)
        with self._changed:
            self._pending.update(item.video_id for item in batch)
        start = time.perf_counter()
        self._queue.put((step, batch, copies))
        self.waited_s += time.perf_counter() - start

    def wait_for(self, video_ids: Iterable[str]) -> None:
        """Return when nothing of these videos is waiting to be written."""
        names = set(video_ids)
        start = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._error or not any(self._pending[name] for name in names))
        self.waited_s += time.perf_counter() - start
        self._raise()

    def drain(self) -> None:
        """Return when everything submitted is written."""
        start = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._error or not any(self._pending.values()))
        self.waited_s += time.perf_counter() - start
        self._raise()

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            step, batch, copies = entry
            for copy in copies:
                copy.wait()
            for item in batch:
                if self._error is None:
                    try:
                        self._store.write(item.video_id, item.start_row, item.rows, step=step)
                    except (OSError, ValueError, KeyError, RuntimeError) as error:
                        self._error = error
                with self._changed:
                    self._pending[item.video_id] -= 1
                    self._changed.notify_all()
