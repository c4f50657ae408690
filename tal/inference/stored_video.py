"""A whole video's rows as a feature store holds them, and where they stand in time."""

from __future__ import annotations

from featstore import FeatureSpec, FeatureStore
from featstore.errors import StoreSpecError
from tal.grid import FeatureGrid
from tal.inference.videos import VideoRows


def row_grid(spec: FeatureSpec, fps: float) -> FeatureGrid:
    """Where a store's rows stand in time: row g covers ``window_frames`` frames from g * frame_stride on."""
    return FeatureGrid(fps, spec.frame_stride, spec.row_window_frames)


def stored_rows(store: FeatureStore, video_id: str) -> VideoRows:
    """All rows of a video. Where the store does not know its duration it ends half a row after the last one.

    Raises
    ------
    StoreSpecError
        the store does not say at what rate the rows were made.
    """
    record = store.video(video_id)
    if not record.fps > 0:
        raise StoreSpecError(f"video {video_id!r}: the store does not say at what rate its rows were made")
    grid = row_grid(store.spec, record.fps)
    rows, valid = store.read(video_id, 0, record.num_rows, return_valid=True)
    duration_s = record.duration_s or float(grid.to_seconds(record.num_rows - 0.5))
    return VideoRows(video_id, rows, grid, duration_s, valid)
