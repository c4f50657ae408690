"""Writing rows: each into a slot of this writer's log, with its ledger entry."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featstore.editing import EditingStore
from featstore.errors import StoreValueError
from featstore.files import disk_errors
from featstore.log import row_sums, runs


class WritingStore(EditingStore):
    """Writes of `FeatureStore`."""

    # The spec's, looked up once: `write` is called for every clip of every step.
    _dtype: np.dtype[Any]
    _channels: int

    @disk_errors
    def write(self, id: str, start_row: int, rows: ArrayLike, step: int) -> None:
        """Write rows of a video into the log.

        They are the newest for reads in this process at once, for others from the next commit on.

        Parameters
        ----------
        id
            A video that this writer owns.
        start_row
            The first row to write.
        rows
            Numbers [n, C], cast to the store's dtype.
        step
            Optimizer step that the rows were fed to; 0: extraction.

        Raises
        ------
        StoreValueError
            A wrong shape, rows out of range, values that are not finite in the store's dtype, or a video of
            another writer; nothing was written.
        StoreWriteError
            The disk did not take them.
        """
        values = rows if type(rows) is np.ndarray else np.asarray(rows)
        if values.ndim != 2 or values.shape[1] != self._channels or values.dtype.kind not in "fiu":
            raise StoreValueError(
                f"video {id!r}: rows must be numbers of shape [n, {self._channels}], "
                f"not {values.dtype} {list(values.shape)}"
            )
        if step < 0:
            raise StoreValueError(
                f"video {id!r}: step must be 0 (extraction) or an optimizer step, not {step}"
            )
        if values.dtype != self._dtype or not values.flags.c_contiguous:
            with np.errstate(over="ignore", invalid="ignore"):
                values = np.ascontiguousarray(values, self._dtype)
        count = len(values)
        with self._guard:
            first, length = self._writable(id)
            if start_row < 0 or start_row + count > length:
                raise StoreValueError(
                    f"video {id!r} has rows [0, {length}), "
                    f"[{start_row}, {start_row + count}) do not lie inside"
                )
            if count:
                _check_finite(id, values)
                self._log_rows(first + start_row, values, step)

    def _log_rows(self, start: int, rows: NDArray[Any], step: int) -> None:
        """Put rows into the log, new ones at its end, others in place, and note their ledger entries."""
        log, count = self._log, len(rows)
        sums = row_sums(rows)
        taken = self._overlay.slots(start, start + count)
        slot = int(taken[0])  # slot + 1; 0 where the row is not in the log yet
        if not np.count_nonzero(taken):
            first = log.append(rows)
            self._overlay.note(start, first, count)
            writes = self._base_writes(start, start + count)
            self._note(first, start, count, step, writes, sums)
        elif slot and int(taken[-1]) == slot + count - 1 and (taken[1:] - taken[:-1] == 1).all():
            self._rewrite(slot - 1, start, rows, step, sums)  # a clip written again, as training does
        else:
            slots = taken.astype(np.int64)
            new = slots == 0
            # Stretches that are new, or lie in slots one after another.
            for i, j in runs(np.where(new, np.arange(-count, 0), slots)):
                if new[i]:
                    first = log.append(rows[i:j])
                    self._overlay.note(start + i, first, j - i)
                    writes = self._base_writes(start + i, start + j)
                    self._note(first, start + i, j - i, step, writes, sums[i:j])
                else:
                    self._rewrite(int(slots[i]) - 1, start + i, rows[i:j], step, sums[i:j])
        if step and self.run is not None:
            self._refreshed = True

    def _rewrite(self, slot: int, row: int, rows: NDArray[Any], step: int, sums: NDArray[np.uint32]) -> None:
        """Write over slots in use, one after another from slot on."""
        self._log.rewrite(slot, rows)
        writes = self._log.entries["writes"][slot : slot + len(rows)].copy()
        self._note(slot, row, len(rows), step, writes, sums)

    def _note(
        self, slot: int, row: int, count: int, step: int, writes: Any, sums: NDArray[np.uint32]
    ) -> None:
        """Set the ledger entries of slots [slot, slot + count), which hold rows from `row` on."""
        entries = self._log.entries[slot : slot + count]
        entries["row"] = np.arange(row, row + count)
        entries["step"] = step
        entries["written_at"] = time.time()
        entries["writes"] = writes + 1
        entries["crc32c"] = sums

    def _base_writes(self, start: int, stop: int) -> NDArray[Any]:
        """How often the base says that rows [start, stop) were written, uint32 [stop - start]."""
        writes = np.zeros(stop - start, np.uint32)
        base_stop = min(stop, self._base_rows)
        if start < base_stop:
            self._base.ledger["writes"].read_into(start, base_stop, writes[: base_stop - start])
        return writes

    def _writable(self, id: str) -> tuple[int, int]:
        """(first row, number of rows) of a video that this process may write."""
        place = self._write_places.get(id)
        if place is None or self._prepared is not None or self._forked:
            index = self._owned(id)
            record = self._table.records[index]
            place = self._write_places[id] = (int(record["first_row"]), int(record["num_rows"]))
        return place


# By bytes a number: how to read it as a whole number, the least that is not finite, the same below zero.
_EXPONENTS: dict[int, tuple[np.dtype[Any], np.dtype[Any], int, int]] = {
    2: (np.dtype("i2"), np.dtype("u2"), 0x7C00, 0xFC00),
    4: (np.dtype("i4"), np.dtype("u4"), 0x7F800000, 0xFF800000),
}


def _check_finite(id: str, values: NDArray[Any]) -> None:
    """Hold that rows [n, C] have neither infinity nor NaN: numbers whose exponent bits are all ones."""
    # Read as whole numbers, the largest positive and the largest negative float come out on top; two
    # reductions are several times faster than np.isfinite on halves.
    signed, unsigned, limit, negative = _EXPONENTS[values.dtype.itemsize]
    if (
        np.maximum.reduce(values.view(signed), axis=None) >= limit
        or np.maximum.reduce(values.view(unsigned), axis=None) >= negative
    ):
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise StoreValueError(
            f"video {id!r}: row {row} of those to write holds values that are not finite as {values.dtype}; "
            "nothing was written"
        )
