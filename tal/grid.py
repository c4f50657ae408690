"""Conversions between seconds, frames, rows and clips: all of them are made here.

A video is sampled at ``fps`` frames a second: frame k is the picture on screen at k / fps seconds. A clip
is ``clip_frames`` consecutive frames, at absolute multiples of the clip length; a row is the encoder's
output for ``frame_stride`` frames. Row g covers frames [g * frame_stride, (g + 1) * frame_stride) and its
position in time is the middle of that stretch.

`FrameGrid` knows seconds and frames, `ClipGrid` frames, rows and clips, `FeatureGrid` rows and seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tal.errors import ConfigError

# A float, an array or a tensor: the conversions are affine and keep the type.
Number = TypeVar("Number")

# Durations in containers and annotation files are rounded to about a millisecond.
_TIME_SLACK_S = 1e-3


@dataclass(frozen=True)
class FrameGrid:
    """Frames <-> seconds of a video sampled at ``fps`` frames a second."""

    fps: float

    def __post_init__(self) -> None:
        if not (self.fps > 0 and math.isfinite(self.fps)):
            raise ConfigError(f"sampling rate must be above 0 frames a second, got {self.fps}")

    def num_frames(self, duration_s: float) -> int:
        """Frames k with k / fps < duration_s; at least one."""
        return max(1, math.ceil((duration_s - _TIME_SLACK_S) * self.fps))

    @overload
    def to_seconds(self, frames: float) -> float: ...
    @overload
    def to_seconds(self, frames: NDArray[np.integer]) -> NDArray[np.float64]: ...
    def to_seconds(self, frames: float | NDArray[np.integer]) -> float | NDArray[np.float64]:
        """Frame numbers -> when they are on screen, or counts of frames -> how long they last."""
        return frames / self.fps

    def capped(self, duration_s: float, max_frames: int) -> FrameGrid:
        """This grid, or a slower one that gives a video at most ``max_frames`` frames (0: any number).

        Sampling the whole of a long video at a lower rate is what TALLFormer does on ActivityNet and HACS
        (768 frames per video).
        """
        if max_frames and self.num_frames(duration_s) > max_frames:
            return FrameGrid(max_frames / duration_s)
        return self


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

    def moved(self, positions: float) -> FeatureGrid:
        """Grid whose position 0 stands where ``positions`` of this one does."""
        return replace(self, start_frame=self.start_frame + positions * self.stride_frames)


@dataclass(frozen=True)
class ClipGrid:
    """Frames, rows and clips of any video, whatever its rate: a clip's numbers, carried whole."""

    clip_frames: int
    frame_stride: int

    def __post_init__(self) -> None:
        if self.frame_stride < 1 or self.clip_frames < 1 or self.clip_frames % self.frame_stride:
            raise ConfigError(
                f"a clip must hold a whole number of rows: clip_frames {self.clip_frames} is not a positive "
                f"multiple of frame_stride {self.frame_stride}"
            )

    @property
    def rows_per_clip(self) -> int:
        """R, rows of a clip."""
        return self.clip_frames // self.frame_stride

    def rows_at(self, fps: float) -> FeatureGrid:
        """Row positions in seconds at a sampling rate: row g is the middle of its frames."""
        return FeatureGrid(fps, self.frame_stride, self.frame_stride)

    def num_rows(self, num_frames: int) -> int:
        """Rows that hold ``num_frames`` frames; the last may be partly filled."""
        return -(-num_frames // self.frame_stride)

    def num_clips(self, num_frames: int) -> int:
        """Clips that hold ``num_frames`` frames; the last may be partly filled."""
        return -(-num_frames // self.clip_frames)

    def whole_clips(self, num_rows: int) -> int:
        """Clips that fit into ``num_rows`` rows."""
        return num_rows // self.rows_per_clip

    def first_row(self, clip: int) -> int:
        """Row at which a clip begins."""
        return clip * self.rows_per_clip

    def frames_of_clip(self, clip: int) -> range:
        """Frames of a clip."""
        return range(clip * self.clip_frames, (clip + 1) * self.clip_frames)

    def frames_of_rows(self, start_row: int, stop_row: int) -> range:
        """Frames of rows [start_row, stop_row)."""
        return range(start_row * self.frame_stride, stop_row * self.frame_stride)
