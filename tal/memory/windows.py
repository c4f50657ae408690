"""Windows: the stretch of a video that one sample shows, and which segments count inside it.

A window has ``num_rows`` positions; position t is row ``start_row + t`` of the video. Starts are whole rows,
that is multiples of the encoder's stride in frames: read, crop and write share the one mapping below, so that
no shift moves a row by half a step (TALLFormer's release does).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.errors import ConfigError
from tal.memory.config import WindowConfig


@dataclass(frozen=True)
class Window:
    """Positions [0, num_rows) over rows [start_row, start_row + num_rows) of a video.

    Only rows [first_row, stop_row) are visible; the other positions are padding, all behind them, as at
    inference: strided levels of a decoder then have the same positions. ``lead``: rows by which the first
    clip begins before the window.
    """

    start_row: int
    num_rows: int
    first_row: int
    stop_row: int
    lead: int = 0

    @property
    def valid(self) -> NDArray[np.bool_]:
        """bool [num_rows]: positions that hold rows of the video."""
        rows = np.arange(self.start_row, self.start_row + self.num_rows)
        return (rows >= self.first_row) & (rows < self.stop_row)

    def clips(self, rows_per_clip: int) -> range:
        """Clips (numbered from the first one) that hold at least one valid row."""
        first = (self.first_row - self.start_row + self.lead) // rows_per_clip
        return range(first, -(-(self.stop_row - self.start_row + self.lead) // rows_per_clip))

    def position(self, clip: int, rows_per_clip: int) -> int:
        """Window position of a clip's first row; negative for a clip that begins before the window."""
        return clip * rows_per_clip - self.lead

    def rows_of_clip(self, clip: int, rows_per_clip: int) -> tuple[int, int]:
        """[start, stop) rows of the video under a clip; they may lie outside [first_row, stop_row)."""
        start = self.start_row + self.position(clip, rows_per_clip)
        return start, start + rows_per_clip


def draw_window(
    rng: np.random.Generator,
    video_rows: int,
    segments: NDArray[np.float64],
    config: WindowConfig,
    rows_per_clip: int = 1,
) -> Window:
    """A random window of a video with ``video_rows`` rows; ``segments`` [N, 2] in row positions.

    Unless background windows are allowed, draws again (``tries`` times at most) until a segment is kept.
    """
    for _ in range(config.tries):
        window = _draw(rng, video_rows, config, rows_per_clip)
        if config.allow_background or len(segments) == 0:
            break
        if len(visible_segments(segments, window, config.trunc_threshold)[1]):
            break
    return window


def _draw(rng: np.random.Generator, video_rows: int, config: WindowConfig, rows_per_clip: int) -> Window:
    length = config.num_rows
    if config.mode == "whole" and video_rows > length:
        raise ConfigError(
            f"window.mode is `whole`, but a video has {video_rows} rows and window.num_rows is {length}: "
            f"raise window.num_rows, set data.max_frames before extraction, or use window.mode=random"
        )
    if video_rows > length:
        start = int(rng.integers(0, video_rows - length + 1))
        return Window(start, length, start, start + length)
    first, stop = 0, video_rows
    low, high = config.crop_ratio
    if config.mode == "random" and low < 1:
        part = max(1, min(video_rows, round(rng.uniform(low, high) * video_rows)))
        first = int(rng.integers(0, video_rows - part + 1))
        stop = first + part
    lead = 0
    if config.shift and rows_per_clip > 1:
        # Another partition into clips each time, so that no row stays at the edge of its clip; a video that
        # fills the window keeps its number of clips.
        lead = int(rng.integers(0, min(rows_per_clip - 1, length - (stop - first)) + 1))
    return Window(first, length, first, stop, lead)


def visible_segments(
    segments: NDArray[np.float64], window: Window, trunc_threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Segments that a window shows: (window positions [n, 2], their indices [n]).

    ``segments`` [N, 2] in positions of the video's rows. Kept are those of which at least ``trunc_threshold``
    of the length is visible; they are cut to that part. Row g stands for positions [g - .5, g + .5].
    """
    low, high = window.first_row - 0.5, window.stop_row - 0.5
    cut = np.clip(segments.reshape(-1, 2), low, high)
    length = np.maximum(segments[:, 1] - segments[:, 0], 1e-9)
    visible = cut[:, 1] - cut[:, 0]
    kept = np.flatnonzero((visible > 0) & (visible >= trunc_threshold * length - 1e-9))
    return cut[kept] - window.start_row, kept
