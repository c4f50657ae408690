"""Put a run together from its configuration: data, memory, network, optimizer, loader."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch.utils.data import DataLoader

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.shared.console import log
from pipelines.train.checkpoint import TrainState, choose_checkpoint, load_weights
from pipelines.train.data import RunData, load_data
from pipelines.train.ema import WeightAverage
from pipelines.train.loop import Trainer, commit_together
from pipelines.train.measure import measure_video
from pipelines.train.models import ModelKeeper
from pipelines.train.optim import build_optimizer
from pipelines.train.run_log import RunLog
from pipelines.train.snapshots import AgeSnapshots
from pipelines.train.step import TrainStep
from pipelines.train.validate import Validator
from tal.encoders import Encoder, build_encoder, feature_spec
from tal.errors import ConfigError
from tal.localizer import Localizer
from tal.memory.clip_loader import ClipDataset, ClipReading
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import BatchSampler, WindowSampler
from tal.memory.writeback import WriteBack


@dataclass(frozen=True)
class Stores:
    """``rows``: what stored rows are read from; ``memory``: the same store when the run also writes it."""

    rows: FeatureStore | None
    memory: FeatureStore | None


def build_accelerator(config: RunConfig) -> Accelerator:
    """Device, precision and processes. Every parameter need not take part in every step (empty windows)."""
    precision = {"fp32": "no"}.get(config.train.precision, config.train.precision)
    if config.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    accelerator = Accelerator(
        cpu=config.train.device == "cpu",
        mixed_precision=precision,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if config.train.device not in ("auto", accelerator.device.type):
        raise ConfigError(
            f"train.device is {config.train.device}, but torch finds {accelerator.device.type} here: "
            f"set train.device=auto"
        )
    share = config.train.accumulate * accelerator.num_processes
    if config.train.batch_size % share:
        raise ConfigError(
            f"train.batch_size {config.train.batch_size} is not a multiple of {accelerator.num_processes} "
            f"processes x train.accumulate {config.train.accumulate}"
        )
    return accelerator


def writes_memory(config: RunConfig) -> bool:
    """Whether the run's steps change stored rows."""
    memory = config.memory
    uses_store = bool(config.data.store) and memory.baseline == "none"
    return config.end_to_end and uses_store and memory.write_back != "off"


def open_stores(config: RunConfig, out: Path, accelerator: Accelerator, run_id: str) -> Stores:
    """The extraction as it is, or the run's own copy of it when steps write rows back."""
    if not config.data.store or (config.end_to_end and config.memory.baseline != "none"):
        if not config.end_to_end or (config.memory.ratio < 1 and config.memory.baseline == "none"):
            raise ConfigError(
                "data.store is empty: make one with `longtal extract` or `longtal store import` and "
                "give it with --set data.store=PATH"
            )
        return Stores(None, None)
    if not writes_memory(config):
        store = FeatureStore.open(config.data.store)
        return Stores(store, None)
    path = Path(config.data.store) if config.memory.in_place else out / "memory.zarr"
    if not path.exists() and accelerator.is_main_process:
        with FeatureStore.open(config.data.store) as pristine:
            log.info("copying %s to %s", config.data.store, path)
            pristine.copy_to(path, run_id=run_id)
    accelerator.wait_for_everyone()
    memory = _open_memory(path, run_id, accelerator)
    return Stores(memory, memory)


def _open_memory(path: Path, run_id: str, accelerator: Accelerator) -> FeatureStore:
    """Writer 0 opens (and recovers) first; the others join its run."""
    rank, world = accelerator.process_index, accelerator.num_processes
    if world == 1:
        return FeatureStore.open(path, mode="r+", run=run_id)
    memory = None
    for turn in (True, False):
        if (rank == 0) == turn:
            memory = FeatureStore.open(path, mode="r+", run=run_id, writer=rank, writers=world)
        accelerator.wait_for_everyone()
    assert memory is not None
    return memory


def build_network(
    config: RunConfig, num_classes: int, channels: int, encoder: Encoder | None
) -> MemoryNetwork:
    """Encoder and localizer with random weights, which follow from ``train.seed`` alone.

    Without a share of fresh clips the encoder is not trained.
    """
    torch.manual_seed(config.train.seed)
    localizer = Localizer(config.localizer, channels, num_classes, config.window.num_rows)
    if encoder is not None and not config.end_to_end:
        encoder.requires_grad_(False)
    return MemoryNetwork(encoder, localizer, config.memory.baseline == "fresh_only")


def check_spec(config: RunConfig, encoder: Encoder, store: FeatureStore) -> None:
    """StoreSpecError unless the store's rows are of this very encoder, sampling and resizing."""
    store.spec.require(
        feature_spec(encoder, config.data.fps, config.data.max_frames),
        "this configuration's encoder",
        then="extract again, or change the configuration",
        store=config.data.store,
        ignore=("dtype",),
    )


def build_trainer(
    config: RunConfig, out: Path, accelerator: Accelerator, run_id: str, provenance: dict[str, Any]
) -> Trainer:
    """The whole run at its start, or at the checkpoint to go on from when there is one."""
    encoder = build_encoder(config.encoder, seed=config.train.seed) if config.encoder is not None else None
    stores = open_stores(config, out, accelerator, run_id)
    if encoder is not None and stores.rows is not None:
        check_spec(config, encoder, stores.rows)
    data = load_data(config.data, stores.rows, measure_video(config))
    channels = stores.rows.spec.channels if stores.rows is not None else (encoder.channels if encoder else 0)
    network = build_network(config, len(data.labels), channels, encoder)
    if config.train.compile:
        network.localizer.compile()
    optimizer = build_optimizer(network, config.optim)
    checkpoint = choose_checkpoint(out / "checkpoints", stores.memory.generation if stores.memory else None)
    average = WeightAverage(network, config.train.ema_decay) if config.train.ema_decay else None
    state = TrainState(run_id=run_id)
    scaler_state = None
    if checkpoint is not None:
        state = checkpoint.state
        weights, averaged, saved = load_weights(checkpoint.path)
        network.load_state_dict(weights)
        optimizer.load_state_dict(saved["optimizer"])
        scaler_state = saved.get("scaler")
        if average is not None and averaged is not None:
            average.state = averaged
        log.info("going on from step %d (%s)", state.step, checkpoint.path.name)
    sampler, loader = _loader(config, accelerator, data, encoder)
    if stores.memory is not None and accelerator.num_processes > 1:
        _share_out(stores.memory, sampler, accelerator, resumed=checkpoint is not None)
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    if average is not None:
        average.state = {k: v.to(accelerator.device) for k, v in average.state.items()}
    if scaler_state is not None and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(scaler_state)
    write_back = WriteBack(stores.memory) if stores.memory is not None else None
    half = stores.rows is not None and stores.rows.spec.dtype == "float16"
    train_step = TrainStep(config, accelerator, wrapped, optimizer, stores.rows, write_back, half)
    validator = None
    if data.ground_truth is not None:
        rows = None if config.end_to_end else stores.rows
        validator = Validator(config, accelerator, data.validation, data.ground_truth, data.labels, rows)
    return Trainer(
        config=config,
        out=out,
        accelerator=accelerator,
        network=network,
        optimizer=optimizer,
        average=average,
        train_step=train_step,
        sampler=sampler,
        loader=loader,
        memory=stores.memory,
        ages=_ages(config, out, accelerator, stores.memory, sampler),
        write_back=write_back,
        validator=validator,
        keeper=ModelKeeper(out, config, data.labels, provenance | _store_facts(stores), data.ground_truth),
        state=state,
        log=RunLog(out if accelerator.is_main_process else None, state.step),
    )


def _loader(
    config: RunConfig, accelerator: Accelerator, data: RunData, encoder: Encoder | None
) -> tuple[BatchSampler, DataLoader]:
    reading = None
    if config.end_to_end and encoder is not None and config.encoder is not None:
        reading = ClipReading(
            clip_frames=encoder.clip_frames,
            frame_stride=encoder.frame_stride,
            preprocess=encoder.preprocess,
            augment=config.augment,
            every_clip=config.memory.baseline == "stochastic_backprop",
            clean=config.memory.write_back == "canonical",
        )
    rows_per_clip = reading.rows_per_clip if reading is not None else 0
    batch = config.train.batch_size
    windows = WindowSampler(
        data.train, batch, config.window, config.memory, config.train.seed, rows_per_clip, config.train.epochs
    )
    share = batch // accelerator.num_processes
    slots = range(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    sampler = BatchSampler(windows, slots, config.train.accumulate)
    dataset = ClipDataset(reading)
    workers = config.train.workers if reading is not None else 0
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=dataset.collate,
        num_workers=workers,
        # fork copies the locks of threads that decoders and stores keep: workers then hang
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
    )
    return sampler, loader


def _ages(
    config: RunConfig, out: Path, accelerator: Accelerator, memory: FeatureStore | None, sampler: BatchSampler
) -> AgeSnapshots | None:
    if memory is None or config.memory.sampler not in ("oldest", "mixture"):
        return None
    return AgeSnapshots(out, accelerator.process_index, memory, sampler.videos, sampler.windows.rows_per_clip)


def _share_out(memory: FeatureStore, sampler: BatchSampler, accelerator: Accelerator, resumed: bool) -> None:
    """Make each process the owner of its slots' videos, once, before the first checkpoint."""
    share = len(sampler.slots)
    owners = {
        video.id: rank
        for rank in range(accelerator.num_processes)
        for video in sampler.windows.videos_of(range(rank * share, (rank + 1) * share))
    }
    if all(memory.owner(video) == rank for video, rank in owners.items()):
        return
    if resumed:
        raise ConfigError(
            f"the run was begun with another number of processes than {accelerator.num_processes}: go on "
            f"with as many as before, since each owns its videos' rows"
        )
    if accelerator.is_main_process:
        memory.assign(owners)
    commit_together(memory, accelerator)


def new_run_id() -> str:
    return uuid.uuid4().hex


def _store_facts(stores: Stores) -> dict[str, Any]:
    return {"features": stores.rows.spec.to_dict()} if stores.rows is not None else {}
