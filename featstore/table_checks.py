"""Whether a video table that was read makes sense: before its numbers are used, and its ids name files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import StoreFormatError, StoreValueError
from featstore.log import FROM_A_COPY, Change
from featstore.videos import MAX_ID_BYTES, REMOVED, STATES, VideoTable, check_id

# Most ids are of this form, which `check_id` takes; it is asked about the others alone.
_PLAIN = re.compile(r"[\w-][\w. -]{0,60}(/[\w-][\w. -]{0,60})*")


def check_records(records: NDArray[Any], text_bytes: int, num_rows: int, source: Path) -> None:
    """Hold that records [videos] of dtype VIDEO point into the text of the ids, and into the rows.

    Raises
    ------
    StoreFormatError
        Names the first video that does not.
    """
    start, stop = records["id_start"], records["id_stop"]
    first, reserved, used = records["first_row"], records["reserved_rows"], records["num_rows"]
    with np.errstate(invalid="ignore", over="ignore"):
        sound = (start >= 0) & (start < stop) & (stop <= text_bytes) & (stop - start <= MAX_ID_BYTES)
        sound &= (first >= 0) & (reserved >= 0) & (reserved <= num_rows) & (first <= num_rows - reserved)
        sound &= (used >= 0) & (used <= reserved) & (records["state"] < len(STATES))
        sound &= np.isfinite(records["fps"]) & (records["fps"] >= 0)
        sound &= ~np.isinf(records["duration_s"]) & ~(records["duration_s"] < 0)
    if not sound.all():
        raise StoreFormatError(
            f"{source}: the record of video {int(np.argmin(sound))} is damaged: {FROM_A_COPY}"
        )
    if reserved.astype(np.float64).sum() > num_rows:
        raise StoreFormatError(f"{source}: its videos share rows, so the table is damaged: {FROM_A_COPY}")


def check_ids(table: VideoTable, source: Path) -> None:
    """Hold that the ids of a store may name files below a folder, and each names one video.

    Raises
    ------
    StoreFormatError
        One may not, or is there twice.
    """
    try:
        for video_id in table.ids:
            if not _PLAIN.fullmatch(video_id):
                check_id(video_id)
    except StoreValueError as error:
        raise StoreFormatError(f"{source} is damaged, or not to be trusted: {error}") from error
    if np.count_nonzero(table.records["state"] != REMOVED) != table.count_named:
        raise StoreFormatError(f"{source}: two of its videos have one id: {FROM_A_COPY}")


def check_change(change: Change, num_videos: int, text_bytes: int, num_rows: int, source: Path) -> None:
    """Hold that a journal's change of the table stays within what its commit promises.

    Raises
    ------
    StoreFormatError
        It does not.
    """
    indices, records = change.indices, change.records
    if ((indices < 0) | (indices >= num_videos)).any():
        raise StoreFormatError(f"{source} changes videos that there are not: {FROM_A_COPY}")
    if change.owners_only:
        return
    check_records(records, text_bytes, num_rows, source)
    given = records["reserved_rows"][records["given_times"] != 0].sum() if change.times else 0
    start, stop = change.text_start, change.text_start + len(change.text)
    named = records[["id_start", "id_stop"]] if change.text else records[:0]
    if (
        int(given) * 8 != len(change.times)
        or start < 0
        or stop > text_bytes
        or (named["id_start"] < start).any()
        or (named["id_stop"] > stop).any()
    ):
        raise StoreFormatError(f"{source} is damaged in a change of the video table: {FROM_A_COPY}")
