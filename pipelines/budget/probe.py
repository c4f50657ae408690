"""Measure a few training steps of a configuration, in a process of its own.

`python -m pipelines.budget.probe` reads one line of JSON from stdin (see `main`) and writes one to stdout. A
process of its own, because its peak memory is then that of this configuration alone, and because one that
does not fit can be stopped.
"""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.budget.tries import time_tries
from pipelines.config import RunConfig, parse_config
from pipelines.train.epoch_log import peak_memory_mib
from pipelines.train.loader import clip_reading
from pipelines.train.optim import build_optimizer
from pipelines.train.setup import build_accelerator, build_network
from pipelines.train.step import TrainStep
from tal.device import out_of_memory
from tal.encoders import Encoder, build_encoder
from tal.grid import ClipGrid
from tal.memory.clip_loader import Batch, ClipDataset, ClipReading, SampleFrames
from tal.memory.sampler import Sample, TrainingVideo, WindowSampler

# The most that a CUDA context and the libraries' work space take.
_CONTEXT_BYTES = 2 << 30


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


def measure(
    config: RunConfig, channels: int, num_classes: int, steps: int, patience_s: float = math.inf
) -> dict[str, Any]:
    """What a step costs, from ``steps`` real ones with made-up pictures and rows. Decoding is left out.

    Parameters
    ----------
    channels
        of stored rows, where no encoder has its own.
    steps
        two or more. The first is of one window and not timed: it allocates the optimizer's state.
    patience_s
        seconds after which no further step begins once two are done.

    Returns
    -------
    dict
        ``peak_bytes`` over all steps, and ``tries_s``: the seconds of each but the first.
    """
    train_step, encoder = build_step(config, channels, num_classes)
    batches = enumerate(made_batches(config, encoder, steps), 1)

    def step() -> None:
        number, batch = next(batches)
        train_step.run(number, [batch])

    device = train_step.accelerator.device
    tries_s = time_tries(step, device, steps - 1, patience_s)
    return {"peak_bytes": peak_bytes(device), "tries_s": tries_s}


def build_step(
    config: RunConfig, channels: int, num_classes: int, half_store: bool = False
) -> tuple[TrainStep, Encoder | None]:
    """A training step with random weights on the configured device, and its encoder where it learns one.

    Parameters
    ----------
    channels
        of stored rows, where no encoder has its own.
    half_store
        rows are checked as a store of 16 bits needs it.
    """
    accelerator = build_accelerator(config)
    encoder = None
    if config.encoder is not None and config.end_to_end:
        encoder = build_encoder(config.encoder.without_weights(), seed=0)
        channels = encoder.channels
    network = build_network(config, num_classes, channels, encoder)
    optimizer = build_optimizer(network, config.optim, config.adapter_lr_multiplier, accelerator.device.type)
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    store = NoStore(channels)
    return TrainStep(config, accelerator, wrapped, optimizer, store, None, half_store), encoder


def peak_bytes(device: torch.device) -> float:
    """Memory that the steps needed of the machine; on CUDA of the card.

    There it is what torch reserved, more than it allocated, and what CUDA itself holds beside that: context,
    kernels, libraries' work space. Other programs on the card cannot be told from it, hence a bound.
    """
    if device.type != "cuda":
        return peak_memory_mib(device) * 2**20
    free, total = torch.cuda.mem_get_info(device)
    beside = total - free - torch.cuda.memory_reserved(device)
    return torch.cuda.max_memory_reserved(device) + min(max(beside, 0), _CONTEXT_BYTES)


def made_batches(config: RunConfig, encoder: Encoder | None, steps: int) -> list[Batch]:
    """A batch a step of made-up pictures, the first of one window."""
    rows_per_clip, fps = 0, config.data.fps
    grid = ClipGrid(1, 1)
    reading = None
    if encoder is not None:
        grid = encoder.grid
        rows_per_clip = grid.rows_per_clip
        reading = clip_reading(config, encoder, later=False)
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
    samples = [list(windows.samples(*divmod(number, per_epoch))) for number in range(steps)]
    samples[0] = samples[0][:1]
    return [dataset.collate([_sample(sample, reading) for sample in step]) for step in samples]


def _sample(sample: Sample, reading: ClipReading | None) -> SampleFrames:
    if reading is None:
        return SampleFrames(sample, torch.zeros(0), (), None, 0.0)
    clips = tuple(sample.window.clips(reading.grid.rows_per_clip)) if reading.every_clip else sample.clips
    crop = reading.preprocess.crop
    frames = torch.randint(0, 256, (len(clips), reading.grid.clip_frames, crop, crop, 3), dtype=torch.uint8)
    return SampleFrames(sample, frames, clips, frames.clone() if reading.clean else None, 0.0)


def _limit(device: str, num_bytes: int | None) -> None:
    """Make an allocation far beyond the budget, or the machine, fail here rather than stop the machine."""
    if device != "cpu" and torch.cuda.is_available():
        if num_bytes is not None:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, num_bytes / total))
        return
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes is not None:
        # what libraries map and never touch counts too
        most = min(most, int(1.5 * num_bytes) + 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def main() -> None:
    """Answer one request.

    stdin: {config, channels, num_classes, steps, limit_bytes, patience_s}, the last two may be null; stdout:
    what `measure` gives, or {"full": why} for a candidate that does not fit.
    """
    request = json.loads(sys.stdin.readline())
    config = parse_config(request["config"])
    _limit(config.train.device, request["limit_bytes"])
    patience_s = math.inf if request["patience_s"] is None else request["patience_s"]
    try:
        answer = measure(config, request["channels"], request["num_classes"], request["steps"], patience_s)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        answer = {"full": next(iter(str(error).splitlines()), "out of memory")}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
