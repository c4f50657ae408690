"""What feeds a run: windows by turns, their clips decoded by loader workers."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate import Accelerator
from torch.utils.data import DataLoader

from pipelines.config import RunConfig
from pipelines.train.data import RunData
from pipelines.train.encode import loader_workers
from tal.encoders import Encoder
from tal.memory.clip_loader import ClipDataset, ClipReading
from tal.memory.handing_over import Collate
from tal.memory.sampler import BatchSampler, WindowSampler


def build_loader(
    config: RunConfig,
    accelerator: Accelerator,
    data: RunData,
    encoder: Encoder | None,
    slots: Sequence[int],
) -> tuple[BatchSampler, DataLoader]:
    """Sampler and loader of the windows in this process's slots of the batch."""
    reading, on_cuda = None, accelerator.device.type == "cuda"
    if config.end_to_end and encoder is not None and config.encoder is not None:
        reading = clip_reading(config, encoder, later=on_cuda)
    rows_per_clip = reading.grid.rows_per_clip if reading is not None else 0
    batch = config.train.batch_size
    windows = WindowSampler(
        data.train, batch, config.window, config.memory, config.train.seed, rows_per_clip, config.train.epochs
    )
    sampler = BatchSampler(windows, slots, config.train.accumulate)
    workers = loader_workers(config, accelerator) if reading is not None else 0
    return sampler, batches_of(ClipDataset(reading), sampler, workers, on_cuda)


def clip_reading(config: RunConfig, encoder: Encoder, later: bool) -> ClipReading:
    """How a run's clips become tensors; ``later``: see `ClipReading`."""
    return ClipReading(
        grid=encoder.grid,
        preprocess=encoder.preprocess,
        augment=config.augment,
        reader=config.data.reader,
        every_clip=config.memory.baseline == "stochastic_backprop",
        clean=config.memory.write_back == "canonical",
        later=later,
    )


def batches_of(dataset: ClipDataset, sampler: BatchSampler, workers: int, pinned: bool) -> DataLoader:
    """The micro-batches of a sampler, decoded by so many processes; into pinned memory for a GPU."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=Collate(dataset),
        num_workers=workers,
        # fork copies the locks of threads that decoders and stores keep: workers then hang
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )
