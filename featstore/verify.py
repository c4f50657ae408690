"""Find rows whose bytes are not those that were written, and make room to write them again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from featstore.errors import StoreFormatError, StoreValueError
from featstore.log import row_sums, runs
from featstore.reading import StoreReader

_BLOCK_ROWS = 4096


def failing_rows(store: StoreReader, sample: float, seed: int) -> pd.DataFrame:
    """Rows of complete videos that are not those that were written.

    Parameters
    ----------
    store
        The store, at the commit that it follows.
    sample
        Share of the videos to look at, above 0 and at most 1.
    seed
        Chooses which.

    Returns
    -------
    DataFrame
        video, row, problem ("checksum", or what is wrong with the chunk file); empty: sound.

    Raises
    ------
    StoreValueError
        `sample` is out of range.
    """
    if not 0 < sample <= 1:
        raise StoreValueError(f"sample is the share of videos to verify, above 0 and at most 1, not {sample}")
    problems: list[tuple[str, int, str]] = []
    with store._guard:
        store._refresh()
        videos = list(store._live_videos())
    if sample < 1:
        count = max(1, round(sample * len(videos)))
        chosen = np.random.default_rng(seed).permutation(len(videos))[:count].tolist()
        videos = [videos[i] for i in sorted(chosen)]
    for video_id, _, length in videos:
        for start in range(0, length, _BLOCK_ROWS):
            problems.extend(_failing(store, video_id, start, min(length, start + _BLOCK_ROWS)))
    return pd.DataFrame(problems, columns=["video", "row", "problem"])


def _failing(store: StoreReader, video_id: str, start: int, stop: int) -> list[tuple[str, int, str]]:
    try:
        with store._guard:  # rows and ledger of one moment
            rows = store.read(video_id, start, stop)
            ledger = store.ledger(video_id, start, stop)
    except StoreFormatError as error:
        if stop - start > 1:  # a block may lie across a sound and a damaged chunk
            middle = (start + stop) // 2
            return _failing(store, video_id, start, middle) + _failing(store, video_id, middle, stop)
        return [(video_id, start, str(error))]
    sums = row_sums(rows)
    bad = np.flatnonzero((ledger["step"] >= 0) & (sums != ledger["crc32c"]))
    return [(video_id, start + int(i), "checksum") for i in bad]


def stretches(failing: pd.DataFrame) -> pd.DataFrame:
    """Put rows that `failing_rows` lists together: video, start_row, stop_row."""
    parts = []
    for video_id, group in failing.groupby("video", sort=False):
        rows = np.sort(group["row"].to_numpy(np.int64))
        parts += [(video_id, int(rows[i]), int(rows[j - 1]) + 1) for i, j in runs(rows)]
    return pd.DataFrame(parts, columns=["video", "start_row", "stop_row"])


def mend_chunks(store: StoreReader) -> list[str]:
    """Give missing or cut chunk files of features and ledger their full size.

    What was in the lost part reads as zeros, whose checksum is not the ledger's (or, where the ledger itself
    was cut, not zero), so `failing_rows` lists those rows. Seconds of regular videos are computed anew.

    Returns
    -------
    list of str
        Paths of the files.
    """
    base, commit = store._base, store._commit
    mended = []
    for array in (base.features, *base.ledger.values()):
        for number in array.mend(commit.num_rows):
            mended.append(str(array.chunk_path(number)))
            if array is base.ledger["time_s"]:
                _restore_times(store, number * array.chunk, (number + 1) * array.chunk)
        array.sync()
    return mended


def _restore_times(store: StoreReader, start: int, stop: int) -> None:
    records, times = store._table.records, store._base.ledger["time_s"]
    for record in records[(records["given_times"] == 0) & (records["reserved_rows"] > 0)]:
        first, count = int(record["first_row"]), int(record["reserved_rows"])
        low, high = max(start, first), min(stop, first + count)
        if low < high:
            times.put(low, store.spec.row_times_s(low - first, high - first, float(record["fps"])))
