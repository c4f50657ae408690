"""Windows and clips: every row in its place, every clip with its chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.errors import ConfigError
from tal.memory.clip_sampling import num_sampled, sample_clips, spread_sample
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.windows import Window, draw_window, visible_segments

NONE = np.zeros((0, 2))


@given(
    video_rows=st.integers(1, 400),
    num_rows=st.integers(1, 120),
    clip=st.integers(1, 16),
    seed=st.integers(0, 2**20),
    crop=st.sampled_from([(1.0, 1.0), (0.5, 1.0)]),
)
@settings(max_examples=200, deadline=None)
def test_a_window_lies_in_the_video_and_its_positions_are_rows(video_rows, num_rows, clip, seed, crop):
    config = WindowConfig(num_rows=num_rows, crop_ratio=crop)
    w = draw_window(np.random.default_rng(seed), video_rows, NONE, config, clip)
    assert w.num_rows == num_rows
    assert 0 <= w.first_row < w.stop_row <= video_rows
    assert w.valid.sum() == w.stop_row - w.first_row  # nothing of the seen stretch falls outside the window
    rows = w.start_row + np.flatnonzero(w.valid)
    assert rows[0] == w.first_row and rows[-1] == w.stop_row - 1
    if video_rows > num_rows:
        assert w.valid.all()
    # every valid row is in exactly one of the clips, and no clip is empty
    seen = [r for k in w.clips(clip) for r in range(*w.rows_of_clip(k, clip))]
    assert set(rows) <= set(seen) and len(seen) == len(set(seen))
    for k in w.clips(clip):
        start, stop = w.rows_of_clip(k, clip)
        assert start < w.stop_row and stop > w.first_row


def test_every_start_is_drawn_and_the_shift_stays_below_a_clip():
    config = WindowConfig(num_rows=10, crop_ratio=(1.0, 1.0))
    starts = {draw_window(np.random.default_rng(s), 14, NONE, config, 4).start_row for s in range(200)}
    assert starts == {0, 1, 2, 3, 4}
    shifted = [draw_window(np.random.default_rng(s), 5, NONE, config, 4) for s in range(200)]
    assert {w.lead for w in shifted} == {0, 1, 2, 3}
    # the clips move, the positions do not: as at inference, the video begins at position 0
    assert {w.start_row for w in shifted} == {0} and all(w.valid[:5].all() for w in shifted)
    assert {w.rows_of_clip(0, 4)[0] for w in shifted} == {0, -1, -2, -3}
    still = config.model_copy(update={"shift": False})
    assert {draw_window(np.random.default_rng(s), 5, NONE, still, 4).lead for s in range(20)} == {0}


def test_a_whole_video_that_does_not_fit_is_an_error():
    with pytest.raises(ConfigError, match="max_frames"):
        draw_window(np.random.default_rng(0), 11, NONE, WindowConfig(mode="whole", num_rows=10))


def test_segments_are_cut_and_those_mostly_outside_are_dropped():
    w = Window(start_row=10, num_rows=20, first_row=10, stop_row=30)
    segments = np.array([[12.0, 15.0], [5.5, 13.5], [5.5, 12.5], [27.0, 33.0], [40.0, 50.0]])
    cut, kept = visible_segments(segments, w, 0.5)
    # [9.5, 29.5] is seen: half of the second segment exactly, 3/7 of the third, 2.5/6 of the fourth
    np.testing.assert_allclose(cut, [[2.0, 5.0], [-0.5, 3.5]])
    assert kept.tolist() == [0, 1]


def test_windows_without_an_action_are_drawn_again_when_not_allowed():
    segments = np.array([[90.0, 95.0]])
    config = WindowConfig(num_rows=10, allow_background=False, tries=2000)
    for seed in range(20):
        w = draw_window(np.random.default_rng(seed), 100, segments, config)
        assert len(visible_segments(segments, w, 0.5)[1]) == 1


@given(st.integers(1, 60), st.floats(0, 1), st.integers(0, 2**20))
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("sampler", ["uniform", "stratified", "oldest", "mixture"])
def test_exactly_n_clips_all_different_and_sorted(sampler, clips, ratio, seed):
    config = MemoryConfig(ratio=ratio, sampler=sampler)
    rng = np.random.default_rng(seed)
    chosen = sample_clips(rng, clips, config, rng.integers(0, 5, clips))
    assert len(chosen) == num_sampled(clips, ratio)
    assert (np.diff(chosen) > 0).all()
    assert ((chosen >= 0) & (chosen < clips)).all()


def test_the_number_of_clips_is_the_papers():
    assert [num_sampled(15, r) for r in (0.15, 0.3, 0.4, 0.6, 1.0)] == [2, 4, 6, 9, 15]
    assert [num_sampled(24, r) for r in (0.375, 1 / 8, 1 / 3)] == [9, 3, 8]
    assert num_sampled(5, 0.0) == 0 and num_sampled(5, 0.01) == 1


@pytest.mark.parametrize("sampler", ["uniform", "stratified"])
@pytest.mark.parametrize(("clips", "ratio"), [(15, 0.15), (25, 0.36), (7, 0.6), (6, 0.5)])
def test_every_clip_has_the_same_chance_the_last_one_too(sampler, clips, ratio):
    draws = 6000
    config = MemoryConfig(ratio=ratio, sampler=sampler)
    counts = np.zeros(clips)
    rng = np.random.default_rng(1)
    for _ in range(draws):
        counts[sample_clips(rng, clips, config)] += 1
    share = num_sampled(clips, ratio) / clips
    # five standard deviations of a binomial share
    assert np.abs(counts / draws - share).max() < 5 * np.sqrt(share * (1 - share) / draws)


def test_stratified_clips_spread_more_than_uniform_ones():
    rng = np.random.default_rng(2)
    gaps = {}
    for name in ("uniform", "stratified"):
        config = MemoryConfig(ratio=0.2, sampler=name)
        gaps[name] = np.mean([np.diff(sample_clips(rng, 40, config)).min() for _ in range(500)])
    assert gaps["stratified"] > 1.5 * gaps["uniform"]
    # and are no rigid comb either: gaps vary
    one = [tuple(np.diff(spread_sample(rng, 40, 8))) for _ in range(50)]
    assert len(set(one)) > 40


def test_oldest_takes_the_oldest_and_mixture_some_of_them():
    ages = np.array([0, 9, 3, 9, 1, 0, 8, 0, 0, 0], dtype=float)
    rng = np.random.default_rng(0)
    oldest = MemoryConfig(ratio=0.3, sampler="oldest")
    assert all(set(sample_clips(rng, 10, oldest, ages)) == {1, 3, 6} for _ in range(20))
    mixture = MemoryConfig(ratio=0.4, sampler="mixture", oldest_share=0.5)
    drawn = [set(sample_clips(rng, 10, mixture, ages)) for _ in range(200)]
    assert all({1, 3} <= d for d in drawn)
    assert len(set().union(*drawn)) == 10
