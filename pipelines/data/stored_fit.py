"""The rows of a store against the durations of its videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from featstore import FeatureStore
from pipelines.shared.row_fit import RowFit, VideoRows, check_rows


class StoredFit(NamedTuple):
    """How the rows fit, and why some or all of the videos were not compared ("" if all were)."""

    fit: RowFit
    left_out: str


def check_stored(
    store: FeatureStore, video_ids: Iterable[str], durations: Mapping[str, float | None]
) -> StoredFit:
    """Compare where rows end with where their videos end.

    Parameters
    ----------
    durations
        seconds of the stored ids, as annotations or files say it here and now; the store's own serve where
        there are none.
    """
    if store.spec.resampled_rows:
        rows = store.spec.resampled_rows
        why = f"every video was resampled to {rows} rows: they are not compared with its duration"
        return StoredFit(RowFit(), f"{store.path.name}: {why}")
    records = [store.video(video_id) for video_id in video_ids]
    timed = [(r, s) for r in records if r.fps > 0 and (s := durations.get(r.id) or r.duration_s)]
    left_out = ""
    if len(timed) < len(records):
        left_out = (
            f"{store.path.name}: duration or rate of {len(records) - len(timed)} of {len(records)} videos is "
            "not known: their rows are not compared with it"
        )
    rows_of = [VideoRows.of(r.id, r.num_rows, r.fps, store.spec, seconds) for r, seconds in timed]
    return StoredFit(check_rows(rows_of), left_out)
