"""Measure a few training steps of a configuration, in a process of its own.

`python -m pipelines.budget.probe` reads one line of JSON from stdin (see `main`) and writes one to stdout. A
process of its own, because its peak memory is then that of this configuration alone, and because one that
does not fit can be stopped.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from pipelines.config import RunConfig, parse_config
from pipelines.train.epoch_log import peak_memory_mib
from pipelines.train.optim import build_optimizer
from pipelines.train.setup import build_accelerator, build_network
from pipelines.train.step import TrainStep
from tal.encoders import Encoder, build_encoder
from tal.grid import ClipGrid
from tal.memory.clip_loader import Batch, ClipDataset, ClipReading, SampleFrames
from tal.memory.sampler import Sample, TrainingVideo, WindowSampler


@dataclass(frozen=True)
class NoStore:
    """Stands for the memory: any row can be read, all of them old zeros."""

    channels: int

    def read(self, video_id: str, start_row: int, stop_row: int) -> NDArray[np.float32]:
        return np.zeros((stop_row - start_row, self.channels), np.float32)

    def ledger(self, video_id: str, start_row: int, stop_row: int) -> dict[str, NDArray[Any]]:
        return {"step": np.zeros(stop_row - start_row, np.int64)}

    def write(self, video_id: str, start_row: int, rows: NDArray[Any], step: int) -> None:
        """Rows are not kept."""

    def close(self) -> None:
        """Nothing is open."""


def measure(config: RunConfig, channels: int, num_classes: int, steps: int) -> dict[str, float]:
    """Peak memory in bytes and seconds a step, over ``steps`` steps with made-up pictures and rows.

    The first step is not timed: it also allocates the optimizer's state. Decoding is left out.
    """
    accelerator = build_accelerator(config)
    encoder = None
    if config.encoder is not None and config.end_to_end:
        settings = config.encoder.model_copy(update={"weights": None, "weights_sha256": None})
        encoder = build_encoder(settings, seed=0)
        channels = encoder.channels
    network = build_network(config, num_classes, channels, encoder)
    wrapped, optimizer = accelerator.prepare(network, build_optimizer(network, config.optim))
    train_step = TrainStep(config, accelerator, wrapped, optimizer, NoStore(channels), None, half_store=False)
    batches = _batches(config, encoder, steps)
    times = []
    for number, batch in enumerate(batches, 1):
        start = time.perf_counter()
        train_step.run(number, [batch])
        _wait(accelerator)
        times.append(time.perf_counter() - start)
    return {
        "peak_bytes": peak_memory_mib(accelerator.device) * 2**20,
        "step_s": float(np.median(times[1:])),
    }


def _batches(config: RunConfig, encoder: Encoder | None, steps: int) -> list[Batch]:
    rows_per_clip, fps = 0, config.data.fps
    grid = ClipGrid(1, 1)
    reading = None
    if encoder is not None:
        grid = encoder.grid
        rows_per_clip = grid.rows_per_clip
        reading = ClipReading(
            grid,
            encoder.preprocess,
            config.augment,
            every_clip=config.memory.baseline == "stochastic_backprop",
            clean=config.memory.write_back == "canonical",
        )
    num_rows = config.window.num_rows
    ends = np.linspace(8.0, max(9.0, num_rows - 1.0), 4)
    segments = np.stack([ends - 6, ends], axis=1)
    size = config.train.batch_size
    videos = [
        TrainingVideo(str(i), num_rows, fps, grid.rows_at(fps), segments, np.zeros(4, np.int64))
        for i in range(size)
    ]
    windows = WindowSampler(videos, size, config.window, config.memory, 0, rows_per_clip)
    dataset = ClipDataset(reading)
    per_epoch = windows.steps_per_epoch
    samples = [windows.samples(*divmod(number, per_epoch)) for number in range(steps)]
    return [dataset.collate([_sample(sample, reading) for sample in step]) for step in samples]


def _sample(sample: Sample, reading: ClipReading | None) -> SampleFrames:
    if reading is None:
        return SampleFrames(sample, torch.zeros(0), (), None, 0.0)
    clips = tuple(sample.window.clips(reading.grid.rows_per_clip)) if reading.every_clip else sample.clips
    crop = reading.preprocess.crop
    frames = torch.randint(0, 256, (len(clips), reading.grid.clip_frames, crop, crop, 3), dtype=torch.uint8)
    return SampleFrames(sample, frames, clips, frames.clone() if reading.clean else None, 0.0)


def _wait(accelerator: Accelerator) -> None:
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()


def _limit(device: str, num_bytes: int) -> None:
    """Make an allocation far beyond the budget fail here, rather than the machine."""
    if device != "cpu" and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, num_bytes / total))
        return
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    generous = int(1.5 * num_bytes) + 2**30  # what libraries map and never touch counts too
    resource.setrlimit(resource.RLIMIT_DATA, (generous, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def main() -> None:
    """stdin: {config, channels, num_classes, steps, limit_bytes}; stdout: what `measure` gives, or {"full":
    why}.
    """
    asked = json.loads(sys.stdin.readline())
    config = parse_config(asked["config"])
    _limit(config.train.device, asked["limit_bytes"])
    try:
        found: dict[str, Any] = measure(config, asked["channels"], asked["num_classes"], asked["steps"])
    except (torch.OutOfMemoryError, MemoryError) as error:
        found = {"full": str(error).splitlines()[0] if str(error) else "out of memory"}
    except RuntimeError as error:  # torch's allocator on the CPU
        if "memory" not in str(error):
            raise
        found = {"full": str(error).splitlines()[0]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
