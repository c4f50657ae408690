"""How far a store is filled, from its last commit: what an extraction has done, and how fast it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.locking import is_held
from featstore.reading import StoreReader
from featstore.videos import COMPLETE, FAILED, RESERVED

# Rows of so many last seconds tell the rate.
RECENT_S = 600.0


@dataclass(frozen=True)
class Filling:
    """A store at one commit.

    Attributes
    ----------
    generation
        Of the commit.
    complete, failed, running, waiting
        Videos: with all rows, given up, with some rows, with none yet.
    rows, rows_left
        Rows that were written, and that unfinished videos still lack.
    rows_per_s
        Of the last ten minutes before the newest row; None: too little to tell.
    written
        Whether a process has the store open for writing.
    """

    generation: int
    complete: int
    failed: int
    running: int
    waiting: int
    rows: int
    rows_left: int
    rows_per_s: float | None
    written: bool

    @property
    def done(self) -> bool:
        """Whether no video waits for rows."""
        return not (self.running or self.waiting)

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest takes at this rate; None: not known, or nobody writes."""
        if self.done:
            return 0.0
        return self.rows_left / self.rows_per_s if self.rows_per_s and self.written else None


def filling(store: StoreReader) -> Filling:
    """How far a store is filled; it may be written to meanwhile.

    Parameters
    ----------
    store
        Opened for reading: each call takes up the newest commit.

    Returns
    -------
    Filling
        All of one commit.
    """
    with store._guard:
        while True:
            store._refresh()
            generation, records = store.generation, store._table.records.copy()
            written_at = store._ledger_column("written_at", 0, store._commit.num_rows)
            if store._unchanged():
                break
    states = records["state"]
    reserved = np.flatnonzero(states == RESERVED)
    there = ~np.isnan(written_at)
    before = np.concatenate([[0], np.cumsum(there)])  # rows written before each row
    firsts, counts = records["first_row"][reserved], records["num_rows"][reserved]
    begun = before[firsts + counts] - before[firsts]
    running = int((begun > 0).sum())
    finished = states == COMPLETE
    starts, lengths = records["first_row"][finished], records["num_rows"][finished]
    rows = int((before[starts + lengths] - before[starts]).sum() + begun.sum())
    return Filling(
        generation=generation,
        complete=int(finished.sum()),
        failed=int((states == FAILED).sum()),
        running=running,
        waiting=len(reserved) - running,
        rows=rows,
        rows_left=int(counts.sum() - begun.sum()),
        rows_per_s=_rate(written_at[there]),
        written=is_held(store.path),
    )


def _rate(written_at: NDArray[Any]) -> float | None:
    if not len(written_at):
        return None
    latest = float(written_at.max())
    recent = written_at[written_at > latest - RECENT_S]
    span = latest - float(recent.min())
    return len(recent) / span if span > 0 else None
