"""Seconds, frames, rows and clips: every conversion and its way back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal.errors import ConfigError
from tal.grid import ClipGrid, FeatureGrid, FrameGrid

RATES = st.floats(0.1, 240, allow_nan=False)
GRIDS = st.tuples(st.integers(1, 16), st.integers(1, 16)).map(lambda n: ClipGrid(n[0] * n[1], n[1]))


@given(RATES, st.floats(0.01, 1e5))
def test_frames_are_those_before_the_end(fps, duration_s):
    grid = FrameGrid(fps)
    count = grid.num_frames(duration_s)
    assert count >= 1
    # a millisecond, by which containers round durations, is no frame
    assert count == 1 or grid.to_seconds(count - 1) < duration_s
    assert grid.to_seconds(count) >= duration_s - 1.1e-3
    assert grid.num_frames(grid.to_seconds(count)) == count


@given(RATES, st.floats(1, 1e5), st.integers(1, 2000))
def test_a_cap_slows_long_videos_only(fps, duration_s, most):
    grid = FrameGrid(fps)
    capped = grid.capped(duration_s, most)
    assert capped.num_frames(duration_s) <= most
    assert capped is grid or (capped.fps < fps and grid.num_frames(duration_s) > most)
    assert grid.capped(duration_s, 0) is grid


@given(GRIDS, st.integers(0, 10_000), st.integers(1, 5000))
def test_clips_rows_and_frames_agree(grid, clip, num_frames):
    frames = grid.frames_of_clip(clip)
    start = grid.first_row(clip)
    assert frames == grid.frames_of_rows(start, start + grid.rows_per_clip)
    assert len(frames) == grid.clip_frames and frames.stop == grid.frames_of_clip(clip + 1).start
    rows, clips = grid.num_rows(num_frames), grid.num_clips(num_frames)
    assert grid.frames_of_rows(0, rows - 1).stop < num_frames <= grid.frames_of_rows(0, rows).stop
    assert grid.frames_of_clip(clips - 1).start < num_frames <= grid.frames_of_clip(clips).start
    assert grid.whole_clips(rows) <= clips == -(-rows // grid.rows_per_clip)


@given(GRIDS, RATES, st.integers(0, 100_000))
def test_a_row_stands_in_the_middle_of_its_frames(grid, fps, row):
    frames = grid.frames_of_rows(row, row + 1)
    middle = FrameGrid(fps).to_seconds((frames.start + frames.stop) / 2)
    rows = grid.rows_at(fps)
    assert rows.to_seconds(float(row)) == pytest.approx(middle, rel=1e-12)
    assert rows.step_s == pytest.approx(grid.frame_stride / fps)


@given(RATES, st.floats(0.5, 64), st.floats(0, 64), st.floats(-1e4, 1e4), st.sampled_from([1, 2, 4, 8]))
def test_positions_and_seconds_round_trip(fps, stride, window, position, factor):
    grid = FeatureGrid(fps, stride, window)
    assert grid.to_positions(grid.to_seconds(position)) == pytest.approx(position, rel=1e-9, abs=1e-6)
    values = np.array([position, position + 1])
    assert np.diff(grid.to_seconds(values)) == pytest.approx(grid.step_s, rel=1e-6)
    coarse = grid.downsampled(factor)
    assert math.isclose(coarse.to_seconds(3.0), grid.to_seconds(3.0 * factor), rel_tol=1e-12)


def test_numbers_that_make_no_grid_are_refused():
    for fps in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="sampling rate"):
            FrameGrid(fps)
    for clip_frames, frame_stride in ((6, 4), (0, 1), (4, 0), (2, 4)):
        with pytest.raises(ConfigError, match="whole number of rows"):
            ClipGrid(clip_frames, frame_stride)
    with pytest.raises(ConfigError, match="feature grid"):
        FeatureGrid(5.0, 0.0, 1.0)
