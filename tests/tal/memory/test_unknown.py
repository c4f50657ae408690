"""Unknown stretches of a video, as windows and decoders see them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.train.step import sample_targets
from tal.grid import FeatureGrid
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.sampler import Sample, TrainingVideo, WindowSampler
from tal.memory.unknown import Unknown
from tal.memory.windows import Window

STRETCHES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2)), max_size=6)


@given(STRETCHES, st.integers(0, 30), st.integers(0, 12))
def test_rows_of_a_window_are_those_of_the_video(
    stretches: list[tuple[int, int, int]], start: int, padding: int
) -> None:
    window = Window(start, 12, start, start + 12 - padding)
    unknown = Unknown(
        np.array([s[:2] for s in stretches], np.float64).reshape(-1, 2),
        np.array([s[2] for s in stretches], np.int64),
        3,
    )
    known = unknown.known_in(window)
    for label in range(3):
        for row in range(start, start + 12 - padding):
            nobody = any(c == label and first <= row <= last for first, last, c in stretches)
            assert (True if known is None else bool(known[label, row - start])) == (not nobody)


def test_a_position_is_known_where_all_of_its_rows_are() -> None:
    known = np.ones((2, 10), bool)
    known[0, 5] = known[1, 8:] = False
    nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
    video = TrainingVideo("v", 10, 5.0, FeatureGrid(5.0, 1, 1), *nothing)
    sample = Sample(video, Window(0, 10, 0, 10), (), *nothing, (0,), known)
    target = sample_targets(sample, 4)
    assert target.known is not None
    assert target.known.tolist() == [[True, False, True], [True, True, False]]
    assert sample_targets(Sample(video, sample.window, (), *nothing, (0,)), 4).known is None


def test_samples_say_what_is_known_of_their_window() -> None:
    segments, labels = np.array([[10.0, 20.0], [50.0, 60.0]]), np.array([0, 1])
    unknown = Unknown(np.array([[0.0, 30.0]]), np.array([1]), 2)
    grid = FeatureGrid(5.0, 1, 1)
    videos = [
        TrainingVideo("known", 100, 5.0, grid, segments, labels),
        TrainingVideo("part", 100, 5.0, grid, segments, labels, unknown=unknown),
    ]
    sampler = WindowSampler(videos, 2, WindowConfig(num_rows=32), MemoryConfig(ratio=0.3), 0)
    partly = 0
    for epoch in range(20):
        for sample in sampler.samples(epoch, 0):
            if sample.video.id == "known" or sample.window.start_row > 30:
                assert sample.known is None
            else:
                assert sample.known is not None and sample.known[0].all()
                assert not sample.known[1, : 31 - sample.window.start_row].any()
                partly += 1
    assert partly > 3
