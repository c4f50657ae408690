"""Plans: pure functions of seed, epoch, step and slot."""

from collections import Counter

import numpy as np
import pytest

from tal.errors import ConfigError
from tal.grid import FeatureGrid
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.sampler import BatchSampler, TrainingVideo, WindowSampler
from tal.memory.store_reader import AgeSnapshot

GRID = FeatureGrid(5.0, 1, 1)


def videos(count, rows=200):
    segments = np.array([[10.0, 40.0], [100.0, 130.0]])
    return [TrainingVideo(f"v{i}", rows + i, 5.0, GRID, segments, np.array([0, 1])) for i in range(count)]


def window_sampler(count=11, batch=4, seed=0, **window):
    memory = MemoryConfig(ratio=0.3)
    return WindowSampler(videos(count), batch, WindowConfig(num_rows=64, **window), memory, seed, 8)


def key(sample):
    return sample.video.id, sample.window, sample.clips, sample.seed


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_drawn():
    one, two = window_sampler(), window_sampler()
    for step in (0, 5, 2):
        assert [key(s) for s in one.samples(3, step)] == [key(s) for s in two.samples(3, step)]
    halves = one.samples(3, 1, range(2)) + one.samples(3, 1, range(2, 4))
    assert [key(s) for s in halves] == [key(s) for s in one.samples(3, 1)]


def test_epochs_seeds_steps_and_slots_differ():
    samples = window_sampler().samples(0, 0)
    assert len({s.window.start_row for s in samples}) == 4 and len({s.seed for s in samples}) == 4
    clips = [s.clips for e in range(20) for s in window_sampler().samples(e, 0)]
    assert len(set(clips)) > 10
    assert [key(s) for s in window_sampler(seed=1).samples(0, 0)] != [key(s) for s in samples]


def test_every_video_is_seen_each_epoch_never_twice_in_a_step_and_by_one_slot():
    windows = window_sampler(windows_per_video=2)
    owners = {}
    for epoch in range(3):
        seen = Counter()
        for step in range(windows.steps_per_epoch):
            samples = windows.samples(epoch, step)
            assert len({s.video.id for s in samples}) == 4
            seen.update(s.video.id for s in samples)
            for slot, sample in enumerate(samples):
                assert owners.setdefault(sample.video.id, slot) == slot
        assert len(seen) == 11 and min(seen.values()) >= 2
    assert sum(len(windows.videos_of(range(s, s + 1))) for s in range(4)) == 11


def test_the_sampler_goes_on_in_the_middle_and_splits_into_micro_batches():
    windows = window_sampler()
    sampler = BatchSampler(windows, range(4), micro_batches=2)
    sampler.start(2, 1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 2 * (windows.steps_per_epoch - 1)
    joined = [key(s) for s in batches[0] + batches[1]]
    assert joined == [key(s) for s in windows.samples(2, 1)]


def test_ground_truth_is_in_window_positions():
    for sample in window_sampler(crop_ratio=(1.0, 1.0)).samples(0, 0):
        for (start, end), label in zip(sample.segments, sample.labels, strict=True):
            whole = sample.video.segments[label] - sample.window.start_row
            assert start >= whole[0] - 1e-9 and end <= whole[1] + 1e-9
            assert end - start >= 0.5 * 30 - 1e-9


def test_age_aware_samplers_look_at_the_snapshot():
    memory = MemoryConfig(ratio=0.2, sampler="oldest")
    windows = WindowSampler(videos(4), 4, WindowConfig(num_rows=80, crop_ratio=(1.0, 1.0)), memory, 0, 8)
    steps = {v.id: np.full(v.num_rows, 50) for v in videos(4)}
    for rows in steps.values():
        rows[::2] = 10
        rows[90:110] = -1
    ages = AgeSnapshot(steps, 60, 8)
    assert ages("v0", 0, 16).tolist() == [30.0, 30.0]  # half of each clip's rows 10, half 50 steps old
    assert ages("v0", 88, 96)[0] > ages("v0", 0, 8)[0]
    assert ages("v0", -4, 4)[0] == 30.0  # rows outside the video do not count
    for sample in windows.samples(0, 0, ages=ages):
        start = sample.window.start_row
        never = [
            k for k in range(10) if (steps[sample.video.id][start + 8 * k : start + 8 * k + 8] < 0).all()
        ]
        assert set(never[:2]) <= set(sample.clips)


def test_more_slots_than_videos_is_an_error():
    with pytest.raises(ConfigError, match=r"train\.batch_size to 3"):
        window_sampler(count=3)


def test_warm_up_epochs_encode_nothing():
    memory = MemoryConfig(ratio=0.3, warmup_epochs=2)
    windows = WindowSampler(videos(4), 4, WindowConfig(num_rows=64), memory, 0, 8)
    encoded = [any(s.clips for s in windows.samples(epoch, 0)) for epoch in range(4)]
    assert encoded == [False, False, True, True]
