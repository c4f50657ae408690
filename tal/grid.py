"""The one owner of conversions between seconds, frames, rows and clips.

A video is sampled at ``fps`` frames a second: frame k is the picture on screen at k / fps seconds. A clip
is ``clip_frames`` consecutive frames, at absolute multiples of the clip length; a row is the encoder's
output for ``frame_stride`` frames. Row g covers frames [g * frame_stride, (g + 1) * frame_stride) and its
position in time is the middle of that stretch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tal.errors import ConfigError

# A float, an array or a tensor: the conversions are affine and keep the type.
Number = TypeVar("Number")

# Durations in containers and annotation files are rounded to about a millisecond.
_TIME_SLACK_S = 1e-3


@dataclass(frozen=True)
class FeatureGrid:
    """Positions on a feature sequence <-> seconds.

    Position p (real) is the middle of the ``window_frames`` frames that start at frame
    ``start_frame + p * stride_frames``; the same rule as the field's feature files
    (ActionFormer: seconds = (p * stride + 0.5 * window) / fps).
    """

    fps: float
    stride_frames: float
    window_frames: float
    start_frame: float = 0.0

    def __post_init__(self) -> None:
        if not (self.fps > 0 and self.stride_frames > 0 and self.window_frames >= 0):
            raise ConfigError(
                f"feature grid needs fps > 0, stride > 0 and window >= 0; got fps={self.fps}, "
                f"stride={self.stride_frames}, window={self.window_frames}"
            )

    @property
    def step_s(self) -> float:
        """Seconds between neighbouring positions."""
        return self.stride_frames / self.fps

    def to_seconds(self, position: Number) -> Number:
        """Position -> seconds; float, numpy array or tensor."""
        return (position * self.stride_frames + self.start_frame + 0.5 * self.window_frames) / self.fps  # type: ignore[operator,return-value]

    def to_positions(self, seconds: Number) -> Number:
        """Seconds -> position; the inverse of `to_seconds`."""
        return (seconds * self.fps - 0.5 * self.window_frames - self.start_frame) / self.stride_frames  # type: ignore[operator,return-value]

    def downsampled(self, factor: int) -> FeatureGrid:
        """Grid of every ``factor``-th position, 0 kept: what stride-2 convolutions with padding 1 leave."""
        return replace(self, stride_frames=self.stride_frames * factor)

    def from_row(self, start_row: float) -> FeatureGrid:
        """Grid of a window whose position 0 is this grid's position ``start_row``."""
        return replace(self, start_frame=self.start_frame + start_row * self.stride_frames)


@dataclass(frozen=True)
class ClipGrid:
    """Frames, rows and clips of one video sampled at ``fps``."""

    fps: float
    clip_frames: int
    frame_stride: int

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ConfigError(f"sampling rate must be above 0 frames a second, got {self.fps}")
        if self.frame_stride < 1 or self.clip_frames < 1 or self.clip_frames % self.frame_stride:
            raise ConfigError(
                f"a clip must hold a whole number of rows: clip_frames={self.clip_frames} is no positive "
                f"multiple of frame_stride={self.frame_stride}"
            )

    @property
    def rows_per_clip(self) -> int:
        return self.clip_frames // self.frame_stride

    @property
    def feature_grid(self) -> FeatureGrid:
        """Row positions in seconds: row g is the middle of its frames."""
        return FeatureGrid(self.fps, self.frame_stride, self.frame_stride)

    def num_frames(self, duration_s: float) -> int:
        """Frames k with k / fps < duration_s; at least one."""
        return max(1, math.ceil((duration_s - _TIME_SLACK_S) * self.fps))

    def num_rows(self, num_frames: int) -> int:
        """Rows that hold ``num_frames`` frames; the last may be partly filled."""
        return -(-num_frames // self.frame_stride)

    def num_clips(self, num_frames: int) -> int:
        return -(-num_frames // self.clip_frames)

    def frame_time_s(self, frame: Number) -> Number:
        """Seconds at which a frame is on screen."""
        return frame / self.fps  # type: ignore[operator,return-value]

    def frame_at(self, seconds: float) -> int:
        """The frame on screen at a moment."""
        return math.floor(seconds * self.fps + _TIME_SLACK_S)

    def row_of_frame(self, frame: int) -> int:
        return frame // self.frame_stride

    def frames_of_rows(self, start_row: int, stop_row: int) -> tuple[int, int]:
        """[start, stop) frames of rows [start, stop)."""
        return start_row * self.frame_stride, stop_row * self.frame_stride

    def rows_of_clip(self, clip: int) -> tuple[int, int]:
        """[start, stop) rows of a clip."""
        return clip * self.rows_per_clip, (clip + 1) * self.rows_per_clip

    def frames_of_clip(self, clip: int) -> tuple[int, int]:
        """[start, stop) frames of a clip."""
        return clip * self.clip_frames, (clip + 1) * self.clip_frames

    def clip_of_row(self, row: int) -> int:
        return row // self.rows_per_clip

    def row_times_s(self, num_rows: int) -> NDArray[np.float64]:
        """Middle of each row in seconds, float64 [num_rows]."""
        return np.asarray(self.feature_grid.to_seconds(np.arange(num_rows, dtype=np.float64)))
