"""Which rows are newer in logs than in the base, and where they lie there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import StoreFormatError
from featstore.log import RowLog, runs


class Overlay:
    """Rows that are newer in logs than in the base: row -> slot, 4 bytes per row, untouched pages free.

    Parameters
    ----------
    logs
        The logs, whose slots count on from one to the next.
    num_rows
        Rows of the flat array.
    dtype
        Type of one number.

    Raises
    ------
    StoreFormatError
        There is not enough memory for so many rows.
    """

    def __init__(self, logs: list[RowLog], num_rows: int, dtype: np.dtype[Any]) -> None:
        self.logs = logs
        self._dtype = dtype
        self._starts = np.cumsum([0, *(log.count for log in logs)])
        try:
            self._slot_of = np.zeros(num_rows, np.int32)  # slot + 1
        except MemoryError as error:
            raise StoreFormatError(f"there is not enough memory for an index of {num_rows} rows") from error
        for start, log in zip(self._starts[:-1].tolist(), logs, strict=True):
            entries = log.entries[: log.count]
            self._slot_of[entries["row"]] = np.arange(start + 1, start + 1 + log.count)

    def resize(self, num_rows: int) -> None:
        """Make room for rows added at the end."""
        if num_rows > len(self._slot_of):
            grown = np.zeros(max(num_rows, len(self._slot_of) * 5 // 4), np.int32)
            used = np.concatenate([log.entries[: log.count]["row"] for log in self.logs])
            grown[used] = self._slot_of[used]  # not the whole: untouched pages stay free
            self._slot_of = grown

    @property
    def count(self) -> int:
        """Slots in use."""
        return sum(log.count for log in self.logs)

    def note(self, start_row: int, first_slot: int, count: int) -> None:
        """Rows [start_row, start_row + count) now lie in slots from first_slot on."""
        self._slot_of[start_row : start_row + count] = np.arange(first_slot + 1, first_slot + count + 1)

    def slots(self, start_row: int, stop_row: int) -> NDArray[np.int32]:
        """Slot + 1 of each row, 0 where the base is newest; a view."""
        return self._slot_of[start_row:stop_row]

    def _parts(
        self, slots: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> Iterator[tuple[RowLog, int, int, int]]:
        """Slots and where their rows go, in stretches: (log, first slot in it, stop slot, first position)."""
        for i, j in runs(slots, positions):
            at, stop = int(slots[i]), int(slots[j - 1]) + 1
            position = int(positions[i])
            while at < stop:  # a run may go over from one log into the next
                which = int(np.searchsorted(self._starts[1:-1], at, side="right"))
                base = int(self._starts[which])
                end = min(stop, int(self._starts[which + 1])) if which + 1 < len(self.logs) else stop
                yield self.logs[which], at - base, end - base, position
                position += end - at
                at = end

    def patch_rows(self, start_row: int, stop_row: int, out: NDArray[Any]) -> None:
        """Put the rows that a log holds into out [stop_row - start_row, C]."""
        slots = self._slot_of[start_row:stop_row]
        positions = np.flatnonzero(slots)
        if len(positions):
            for log, first, stop, at in self._parts(slots[positions].astype(np.int64) - 1, positions):
                part = out[at : at + stop - first]
                if part.dtype == self._dtype and part.flags.c_contiguous:
                    log.read_into(first, part)
                else:
                    rows = np.empty(part.shape, self._dtype)
                    log.read_into(first, rows)
                    part[:] = rows

    def patch_ledger(self, name: str, start_row: int, stop_row: int, out: NDArray[Any]) -> None:
        """The same for one column of the ledger, out [stop_row - start_row]."""
        slots = self._slot_of[start_row:stop_row]
        positions = np.flatnonzero(slots)
        places = slots[positions].astype(np.int64) - 1
        for i, log in enumerate(self.logs):
            if len(self.logs) == 1:
                out[positions] = log.entries[name][places]
            else:
                here = np.flatnonzero((places >= self._starts[i]) & (places < self._starts[i + 1]))
                out[positions[here]] = log.entries[name][places[here] - self._starts[i]]

    def close(self) -> None:
        for log in self.logs:
            log.close()
