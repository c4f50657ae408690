"""One commit of a store as it travels: the flat array's rows, sound ones of videos that count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import FeatureStoreError, StoreFormatError
from featstore.layout import LEDGER, LEDGER_FILL, Commit, Header
from featstore.log import row_sums
from featstore.reading import StoreReader
from featstore.spec import FeatureSpec
from featstore.videos import COMPLETE, RESERVED


class Snapshot:
    """A store's last commit, read block by block.

    Rows outside of complete and unfinished videos travel as never written, zeros: what was removed stays
    where it was removed.

    Attributes
    ----------
    spec, header, commit
        What the rows are, chunk sizes, and the commit as one that is in the base.
    records
        The video table, [videos] of dtype VIDEO.
    text
        UTF-8 bytes of the ids, [commit.text_bytes].
    """

    def __init__(self, store: StoreReader) -> None:
        with store._guard:
            store._refresh()
            self._store = store
            self.path = store.path
            self.spec: FeatureSpec = store.spec
            self.header: Header = store._header
            self.commit: Commit = replace(store._commit.noted_applied())
            self.records = store._table.records.copy()
            self.text = _text(self.records, store._table.ids, self.commit.text_bytes)
            self._counts = rows_that_count(self.records, self.commit.num_rows)

    def ledger(self, start: int, stop: int) -> NDArray[Any]:
        """Ledger entries of rows [start, stop), [stop - start] of dtype LEDGER.

        Raises
        ------
        FeatureStoreError
            The store was committed to since.
        """
        entries = np.empty(stop - start, LEDGER)
        with self._store._guard:
            for name in LEDGER.names or ():
                entries[name] = self._store._ledger_column(name, start, stop)
            self._hold()
        blank(entries, ~self._counts[start:stop])
        return entries

    def rows(self, start: int, stop: int, ledger: NDArray[Any]) -> NDArray[Any]:
        """Rows [start, stop), [stop - start, C] of the store's dtype, each held against its checksum.

        Parameters
        ----------
        start, stop
            The rows.
        ledger
            Their `ledger`.

        Raises
        ------
        FeatureStoreError
            The store was committed to since.
        StoreFormatError
            A row is damaged, or its file is.
        """
        rows = np.empty((stop - start, self.spec.channels), self.spec.numpy_dtype)
        with self._store._guard:
            self._store._rows_into(start, stop, rows)
            self._hold()
        failing = take_sound(rows, ledger)
        if len(failing):
            raise StoreFormatError(
                f"{self.path}: {len(failing)} rows fail their checksum, so they do not travel: run "
                "`longtal store verify`, then `longtal extract --repair`"
            )
        return rows

    def _hold(self) -> None:
        if not self._store._unchanged():
            raise FeatureStoreError(
                f"{self.path} was committed to while it was read: wait for its writer, or send a copy "
                "(`longtal store copy`)"
            )


def blank(entries: NDArray[Any], where: NDArray[np.bool_]) -> None:
    """Set ledger entries [n] of dtype LEDGER to those of rows never written, where bool [n] says so."""
    for name, fill in LEDGER_FILL.items():
        entries[name][where] = fill


def take_sound(rows: NDArray[Any], ledger: NDArray[Any]) -> NDArray[np.int64]:
    """Zero those rows [n, C] that were never written; the positions of others whose checksum fails."""
    written = ledger["step"] >= 0
    rows[~written] = 0
    return np.flatnonzero(written & (row_sums(rows) != ledger["crc32c"]))


def rows_that_count(records: NDArray[Any], num_rows: int) -> NDArray[np.bool_]:
    """Which rows of the flat array belong to videos that are complete or unfinished, bool [num_rows]."""
    counts = np.zeros(num_rows, bool)
    states = records["state"]
    lengths = np.where(states == RESERVED, records["reserved_rows"], records["num_rows"])
    chosen = np.flatnonzero((states == COMPLETE) | (states == RESERVED))
    for first, length in zip(records["first_row"][chosen].tolist(), lengths[chosen].tolist(), strict=True):
        counts[first : first + length] = True
    return counts


def _text(records: NDArray[Any], ids: list[str], num_bytes: int) -> bytes:
    """The ids at their places; a name that is removed keeps its place, too."""
    text = bytearray(num_bytes)
    for record, video_id in zip(records, ids, strict=True):
        text[int(record["id_start"]) : int(record["id_stop"])] = video_id.encode()
    return bytes(text)
