"""Augmentation on the device against that of the loader workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.encoders import Preprocess
from tal.grid import ClipGrid, FeatureGrid
from tal.memory.augment import AugmentConfig, draw_augmentation
from tal.memory.augment_later import Change, change_clips
from tal.memory.clip_loader import ClipDataset, ClipReading
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.sampler import TrainingVideo, WindowSampler
from tests.pretend_cuda import PretendCuda
from tests.tal.video.blocks import write_blocks

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
EVERYTHING = AugmentConfig(scale=0.7, rotation=0.7, photometric=0.8, channel_shuffle=0.5)


@pytest.fixture
def video(tmp_path: Path) -> TrainingVideo:
    """A video whose last clip is longer than it is."""
    path = write_blocks(tmp_path / "v.mp4", 10.0, 45, np.random.default_rng(0), side=8, blocks=(6, 8))
    nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
    return TrainingVideo("v", 45, 10.0, FeatureGrid(10.0, 1, 1), *nothing, str(path), 4.5)


def test_what_the_device_does_is_what_a_worker_does(video: TrainingVideo) -> None:
    grid, prepare = ClipGrid(8, 1), Preprocess(40, 32, (0.5,) * 3, (0.5,) * 3)
    windows = WindowSampler(
        [video], 1, WindowConfig(num_rows=48, crop_ratio=(1.0, 1.0)), MemoryConfig(ratio=1.0), 3, 8
    )
    reading = ClipReading(grid, prepare, EVERYTHING, "pyav")
    draws = []
    for epoch in range(6):
        samples = list(windows.samples(epoch, 0)) * 2
        here = ClipDataset(reading)
        later = ClipDataset(replace(reading, later=True))
        expected = here.collate([here[s] for s in samples]).clips
        batch = later.collate([later[s] for s in samples])
        found = batch.clips_on(CPU)
        assert expected is not None and found is not None and len(batch.changes) == 2
        draws += [change.draw for change in batch.changes]
        apart = (found.frames.int() - expected.frames.int()).abs()
        assert int(apart.max()) <= 1 and float((apart > 0).float().mean()) < 1e-3
        assert any(not change.valid.all() for change in batch.changes)
        for frames, valid in zip(found.frames, np.concatenate([c.valid for c in batch.changes]), strict=True):
            assert not frames[torch.from_numpy(~valid)].any()
    assert any(d.flip for d in draws) and any(d.angle_deg for d in draws) and any(d.colour for d in draws)


def test_the_host_waits_for_nothing() -> None:
    rng, card = np.random.default_rng(0), PretendCuda()
    changes = [Change(draw_augmentation(rng, EVERYTHING), np.ones((2, 3), bool)) for _ in range(8)]
    frames = torch.from_numpy(rng.integers(0, 255, (16, 3, 8, 8, 3), dtype=np.uint8))
    expected = change_clips(frames, changes)
    with card.active():
        there = frames.pin_memory().to("cuda", non_blocking=True)
        found = change_clips(there, changes)
        assert card.num_waits == 0 and card.has(found)
        assert torch.equal(found.cpu(), expected)
