"""Rows, rate and duration of a video when no store knows them."""

from __future__ import annotations

from pathlib import Path

from pipelines.config import RunConfig
from pipelines.train.data import Measure
from tal.annotations import VideoAnnotation
from tal.grid import FeatureGrid, FrameGrid
from tal.video import open_video


def measure_video(config: RunConfig) -> Measure | None:
    """Rows, rate, duration and grid of a video file under the run's sampling; None without an encoder."""
    encoder = config.encoder
    if encoder is None:
        return None

    def measure(path: Path, annotation: VideoAnnotation) -> tuple[int, float, float, FeatureGrid]:
        with open_video(path, config.data.reader) as video:
            info = video.info
        sampling = FrameGrid(config.data.fps).capped(info.duration_s, config.data.max_frames)
        rows = encoder.grid.num_rows(sampling.num_frames(info.duration_s))
        return rows, sampling.fps, info.duration_s, encoder.grid.rows_at(sampling.fps)

    return measure
