"""How old the rows are: one table by row, clip or video."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featstore.errors import StoreValueError
from featstore.reading import StoreReader
from featstore.videos import COMPLETE

# Groups of one length are handled together, but never more rows than this at a time.
_BLOCK_ROWS = 1 << 21


def staleness(store: StoreReader, now_step: int | None, by: str) -> pd.DataFrame:
    """Age of the complete videos' rows in optimizer steps, from the newest ledger.

    Parameters
    ----------
    store
        The store.
    now_step
        The step to count from; None: the newest in the ledger.
    by
        "row", "clip" or "video".

    Returns
    -------
    DataFrame
        By row: video, row, time_s, step, age (NaN: never written), written_at, writes.
        By clip and video: video, (clip,) rows, never (share of rows never written), never_refreshed (share
        never written after extraction), age_mean, age_median, age_p90, age_max (over written rows; NaN:
        none), writes (sum), written_at (latest, seconds since 1970).

    Raises
    ------
    StoreValueError
        `by` is not one of the three.
    """
    if by not in ("row", "clip", "video"):
        raise StoreValueError(f"staleness by {by!r}? It is by 'row', 'clip' or 'video'")
    ids, lengths, columns = _snapshot(store, by == "row")
    steps = columns["step"]
    videos = np.arange(len(ids))
    starts = np.cumsum(lengths) - lengths  # the columns hold live rows only, one video after another
    if now_step is None:
        now_step = max(0, int(steps.max(initial=0)))
    if by == "row":
        codes = np.repeat(videos, lengths)
        return pd.DataFrame(
            {
                "video": pd.Categorical.from_codes(codes, pd.Index(ids, dtype=object)),
                "row": np.arange(len(steps)) - np.repeat(starts, lengths),
                "time_s": columns["time_s"],
                "step": steps,
                "age": np.where(steps < 0, np.nan, now_step - steps),
                "written_at": columns["written_at"],
                "writes": columns["writes"],
            }
        )
    frame: dict[str, Any] = {}
    if by == "clip":
        per_clip = store.spec.rows_per_clip
        clips = -(-lengths // per_clip)
        videos = np.repeat(videos, clips)
        clip = np.arange(int(clips.sum())) - np.repeat(np.cumsum(clips) - clips, clips)
        ends = (starts + lengths)[videos]
        starts = starts[videos] + clip * per_clip
        lengths = np.minimum(per_clip, ends - starts)
        frame["video"] = pd.Categorical.from_codes(videos, pd.Index(ids, dtype=object))
        frame["clip"] = clip
    else:
        frame["video"] = pd.array(ids, dtype=object)
    return pd.DataFrame({**frame, **_summary(starts, lengths, columns, now_step)})


def _snapshot(
    store: StoreReader, with_times: bool
) -> tuple[list[str], NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Ids and lengths of the complete videos, and their ledger columns, all of one generation."""
    names = ["step", "written_at", "writes", *(["time_s"] if with_times else [])]
    with store._guard:
        while True:
            store._refresh()
            records = store._table.records
            live = np.flatnonzero(records["state"] == COMPLETE)
            firsts, lengths = records["first_row"][live], records["num_rows"][live]
            total = int((firsts + lengths).max(initial=0))
            gapless = int(lengths.sum()) == total and bool((np.diff(firsts) >= 0).all())
            columns = {}
            for name in names:
                column = store._ledger_column(name, 0, total)
                columns[name] = column if gapless else column[_rows(firsts, lengths)]
            ids = [store._table.ids[i] for i in live.tolist()]
            if store._unchanged():
                return ids, lengths, columns


def _rows(firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of all rows [firsts, firsts + lengths), one stretch after another."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(firsts - starts, lengths)


def _summary(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], columns: dict[str, NDArray[Any]], now_step: int
) -> dict[str, NDArray[Any]]:
    """The table's figures, [n] each, of the n groups of rows [starts, starts + lengths)."""
    count = len(starts)
    figures = {
        name: np.full(count, np.nan)
        for name in ("never", "never_refreshed", "age_mean", "age_median", "age_p90", "age_max", "written_at")
    }
    writes = np.zeros(count, np.int64)
    for length in np.unique(lengths).tolist():
        groups = np.flatnonzero(lengths == length)
        block = max(1, _BLOCK_ROWS // max(1, length))
        for at in range(0, len(groups), block):
            chosen = groups[at : at + block]
            rows = starts[chosen][:, None] + np.arange(length)
            steps = np.sort(columns["step"][rows], axis=1)
            never = (steps < 0).sum(axis=1)
            written = length - never
            figures["never"][chosen] = never / length
            figures["never_refreshed"][chosen] = (steps <= 0).sum(axis=1) / length
            writes[chosen] = columns["writes"][rows].sum(axis=1)
            some, first = np.flatnonzero(written), never
            if not len(some):
                continue
            chosen, steps, first, n = chosen[some], steps[some], first[some], written[some]
            total = np.where(steps >= 0, steps, 0).sum(axis=1)
            figures["age_mean"][chosen] = now_step - total / n
            figures["age_max"][chosen] = now_step - _at(steps, first)
            # Old rows have small steps: the age's 90th percentile is the step's 10th.
            for name, share in (("age_median", 0.5), ("age_p90", 0.1)):
                place = share * (n - 1)
                low = np.floor(place).astype(np.int64)
                below = _at(steps, first + low)
                above = _at(steps, np.minimum(first + low + 1, first + n - 1))
                figures[name][chosen] = now_step - (below + (place - low) * (above - below))
            figures["written_at"][chosen] = np.nanmax(columns["written_at"][rows[some]], axis=1)
    order = ("never", "never_refreshed", "age_mean", "age_median", "age_p90", "age_max")
    return {
        "rows": lengths,
        **{name: figures[name] for name in order},
        "writes": writes,
        "written_at": figures["written_at"],
    }


def _at(values: NDArray[Any], place: NDArray[np.int64]) -> NDArray[Any]:
    """One value of each line of values [n, m], at place [n]."""
    return np.take_along_axis(values, place[:, None], axis=1)[:, 0]
