"""Rows, rate and duration of a video when no store knows them."""

from __future__ import annotations

from pathlib import Path

from pipelines.config import RunConfig
from pipelines.train.data import Measure
from tal.annotations import VideoAnnotation
from tal.encoders import sampling_fps
from tal.grid import ClipGrid, FeatureGrid
from tal.video import open_video


def measure_video(config: RunConfig) -> Measure | None:
    """Rows, rate, duration and grid of a video file under the run's sampling; None without an encoder."""
    encoder = config.encoder
    if encoder is None:
        return None

    def measure(path: Path, annotation: VideoAnnotation) -> tuple[int, float, float, FeatureGrid]:
        with open_video(path) as video:
            info = video.info
        fps = sampling_fps(info, config.data.fps, config.data.max_frames)
        grid = ClipGrid(fps, encoder.clip_frames, encoder.frame_stride)
        rows = grid.num_rows(grid.num_frames(info.duration_s))
        return rows, fps, info.duration_s, grid.feature_grid

    return measure
