"""How long the training loop waits for clips that decode beside it: `python -m benchmarks.loop_wait`.

Both are acted out: a step sleeps 50 ms, a clip's decoding 40 ms, one clip a step. Yardstick, same run:
without workers, where every clip is waited for. Hold: with two workers the wait is below 10 % of the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch

from pipelines.train.loader import batches_of
from pipelines.train.look_ahead import LookAhead, Waited
from tal.encoders import Preprocess
from tal.grid import ClipGrid
from tal.memory.augment import AugmentConfig
from tal.memory.clip_loader import ClipDataset, ClipReading, SampleFrames
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.sampler import BatchSampler, Sample, TrainingVideo, WindowSampler

STEP_S, DECODE_S, STEPS = 0.05, 0.04, 200
GRID = ClipGrid(16, 1)
HOLD = 0.1


class SlowClips(ClipDataset):
    """Black clips that take as long as decoding."""

    def __getitem__(self, sample: Sample) -> SampleFrames:
        time.sleep(DECODE_S * len(sample.clips))
        frames = torch.zeros(len(sample.clips), GRID.clip_frames, 112, 112, 3, dtype=torch.uint8)
        return SampleFrames(sample, frames, sample.clips, None, DECODE_S)


def waiting(workers: int) -> float:
    """Share of an epoch that the loop waits, its first two steps, while workers start, left out."""
    nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
    videos = [TrainingVideo(str(k), 64, 15.0, GRID.rows_at(15.0), *nothing, "", 4.3) for k in range(STEPS)]
    window = WindowConfig(num_rows=64, crop_ratio=(1.0, 1.0))
    windows = WindowSampler(videos, 1, window, MemoryConfig(ratio=0.25), 0, GRID.rows_per_clip)
    sampler = BatchSampler(windows, range(1))
    reading = ClipReading(GRID, Preprocess(112, 112, (0.5,) * 3, (0.5,) * 3), AugmentConfig(), "pyav")
    loader = batches_of(SlowClips(reading), sampler, workers, pinned=False)

    def timed() -> Iterator[Waited]:
        batches = iter(loader)
        for _ in range(len(sampler)):
            start = time.perf_counter()
            batch = next(batches)
            yield [batch], time.perf_counter() - start

    source, waited, begun = LookAhead(timed()), 0.0, 0.0
    for step, (batches, wait_s) in enumerate(source):
        assert sum(len(batch.clips.frames) for batch in batches if batch.clips is not None) == 1
        if step == 2:
            begun = time.perf_counter()
        elif step > 2:
            waited += wait_s
        time.sleep(STEP_S)
        source.next_batches()
    return waited / (time.perf_counter() - begun)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    alone, beside = (waiting(workers) for workers in (0, 2))
    print(f"{STEPS} steps of {STEP_S * 1e3:.0f} ms, a clip of {DECODE_S * 1e3:.0f} ms each")
    print(f"waiting without workers {alone:.1%}, with two {beside:.1%}, ratio {beside / alone:.3f}")
    print(f"hold: {HOLD:.0%} with two: {'held' if beside < HOLD else 'NOT held'}")


if __name__ == "__main__":
    main()
