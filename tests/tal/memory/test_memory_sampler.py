"""Plans: pure functions of seed, epoch, step and slot."""

from collections import Counter

import numpy as np
import pytest

from tal.errors import ConfigError
from tal.grid import FeatureGrid
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.sampler import Planner, StepSampler, TrainingVideo
from tal.memory.store_reader import AgeSnapshot

GRID = FeatureGrid(5.0, 1, 1)


def videos(count, rows=200):
    segments = np.array([[10.0, 40.0], [100.0, 130.0]])
    return [TrainingVideo(f"v{i}", rows + i, 5.0, GRID, segments, np.array([0, 1])) for i in range(count)]


def planner(count=11, batch=4, seed=0, **window):
    memory = MemoryConfig(ratio=0.3)
    return Planner(videos(count), batch, WindowConfig(num_rows=64, **window), memory, seed, 8)


def key(plan):
    return plan.video.id, plan.window, plan.clips, plan.seed


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_planned():
    one, two = planner(), planner()
    for step in (0, 5, 2):
        assert [key(p) for p in one.step(3, step)] == [key(p) for p in two.step(3, step)]
    halves = one.step(3, 1, range(2)) + one.step(3, 1, range(2, 4))
    assert [key(p) for p in halves] == [key(p) for p in one.step(3, 1)]


def test_epochs_seeds_steps_and_slots_differ():
    plans = planner().step(0, 0)
    assert len({p.window.start_row for p in plans}) == 4 and len({p.seed for p in plans}) == 4
    clips = [p.clips for e in range(20) for p in planner().step(e, 0)]
    assert len(set(clips)) > 10
    assert [key(p) for p in planner(seed=1).step(0, 0)] != [key(p) for p in plans]


def test_every_video_is_seen_each_epoch_never_twice_in_a_step_and_by_one_slot():
    plan = planner(windows_per_video=2)
    owners = {}
    for epoch in range(3):
        seen = Counter()
        for step in range(plan.steps_per_epoch):
            samples = plan.step(epoch, step)
            assert len({p.video.id for p in samples}) == 4
            seen.update(p.video.id for p in samples)
            for slot, sample in enumerate(samples):
                assert owners.setdefault(sample.video.id, slot) == slot
        assert len(seen) == 11 and min(seen.values()) >= 2
    assert sum(len(plan.videos_of(range(s, s + 1))) for s in range(4)) == 11


def test_the_sampler_goes_on_in_the_middle_and_splits_into_micro_batches():
    plan = planner()
    sampler = StepSampler(plan, range(4), micro_batches=2)
    sampler.start(2, 1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 2 * (plan.steps_per_epoch - 1)
    joined = [key(p) for p in batches[0] + batches[1]]
    assert joined == [key(p) for p in plan.step(2, 1)]


def test_truth_is_in_window_positions():
    for plan in planner(crop_ratio=(1.0, 1.0)).step(0, 0):
        for (start, end), label in zip(plan.segments, plan.labels, strict=True):
            whole = plan.video.segments[label] - plan.window.start_row
            assert start >= whole[0] - 1e-9 and end <= whole[1] + 1e-9
            assert end - start >= 0.5 * 30 - 1e-9


def test_age_aware_samplers_look_at_the_snapshot():
    memory = MemoryConfig(ratio=0.2, sampler="oldest")
    plan = Planner(videos(4), 4, WindowConfig(num_rows=80, crop_ratio=(1.0, 1.0)), memory, 0, 8)
    steps = {v.id: np.full(v.num_rows, 50) for v in videos(4)}
    for rows in steps.values():
        rows[::2] = 10
        rows[90:110] = -1
    ages = AgeSnapshot(steps, 60, 8)
    assert ages("v0", 0, 16).tolist() == [30.0, 30.0]  # half of each clip's rows 10, half 50 steps old
    assert ages("v0", 88, 96)[0] > ages("v0", 0, 8)[0]
    assert ages("v0", -4, 4)[0] == 30.0  # rows outside the video do not count
    for sample in plan.step(0, 0, ages=ages):
        start = sample.window.start_row
        never = [
            k for k in range(10) if (steps[sample.video.id][start + 8 * k : start + 8 * k + 8] < 0).all()
        ]
        assert set(never[:2]) <= set(sample.clips)


def test_more_slots_than_videos_is_an_error():
    with pytest.raises(ConfigError, match=r"train\.batch_size to 3"):
        planner(count=3)


def test_warm_up_epochs_encode_nothing():
    memory = MemoryConfig(ratio=0.3, warmup_epochs=2)
    plan = Planner(videos(4), 4, WindowConfig(num_rows=64), memory, 0, 8)
    assert [any(p.clips for p in plan.step(epoch, 0)) for epoch in range(4)] == [False, False, True, True]
