"""Put a run together from its configuration: data, memory, network, optimizer, loader."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.shared.console import log
from pipelines.train.checkpoint import (
    Checkpoint,
    TrainState,
    choose_checkpoint,
    load_weights,
    trunk_sha256,
)
from pipelines.train.data import RunData
from pipelines.train.ema import WeightAverage
from pipelines.train.hosts.fetch import on_every_host
from pipelines.train.hosts.group import PATIENCE, Hosts
from pipelines.train.hosts.settle import drop_ahead
from pipelines.train.hosts.share import Share
from pipelines.train.loader import build_loader
from pipelines.train.loop import Trainer
from pipelines.train.models import ModelKeeper
from pipelines.train.optim import build_optimizer, load_optimizer
from pipelines.train.run_log import RunLog
from pipelines.train.snapshots import AgeSnapshots
from pipelines.train.start import start_from
from pipelines.train.step import TrainStep
from pipelines.train.stores import open_stores, share_out
from pipelines.train.validate import Validator
from tal.decoders.pyramid.config import PyramidConfig
from tal.device import set_float32
from tal.encoders import Encoder
from tal.errors import CheckpointError, ConfigError
from tal.localizer import Localizer
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import BatchSampler
from tal.memory.writeback import WriteBack

# Sixteen lengths, in training and in inference, full batches and the last one.
_COMPILED_SHAPES = 64


def build_accelerator(config: RunConfig) -> Accelerator:
    """Device, precision and processes.

    With stored rows alone every parameter takes part in every step; an encoder rests in some epochs, and may
    have parts that give no rows.
    """
    precision = {"fp32": "no", "tf32": "no"}.get(config.train.precision, config.train.precision)
    set_float32(config.train.precision)
    if config.train.deterministic:
        _use_deterministic_kernels()
    accelerator = Accelerator(
        cpu=config.train.device == "cpu",
        mixed_precision=precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                find_unused_parameters=config.end_to_end or _one_level(config), gradient_as_bucket_view=True
            ),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )
    require_device(config, accelerator.device.type)
    require_shares(config, accelerator.num_processes)
    return accelerator


def _use_deterministic_kernels() -> None:
    """Deterministic kernels where torch has them; an operation that has none is warned of, and runs.

    Under such a warning fused attention sums its gradients in any order although it has a deterministic
    way, which torch takes only where everything must have one: so attention is plain products then.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if torch.cuda.is_available():  # the switches are the CPU's too, whose fused attention is deterministic
        cuda = torch.backends.cuda
        for fused in (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_cudnn_sdp):
            fused(False)


def require_device(config: RunConfig, device: str) -> None:
    """Raise ConfigError unless ``device``, which was chosen here, is the one that the run names."""
    if config.train.device not in ("auto", device):
        raise ConfigError(
            f"train.device is {config.train.device}, but torch finds {device} here: set train.device=auto"
        )


def require_shares(config: RunConfig, processes: int) -> None:
    """Raise ConfigError unless each process and micro-batch has as many windows of a step as the others."""
    if config.train.batch_size % (config.train.accumulate * processes):
        raise ConfigError(
            f"train.batch_size {config.train.batch_size} is not a multiple of {processes} "
            f"processes x train.accumulate {config.train.accumulate}"
        )


def _one_level(config: RunConfig) -> bool:
    """A pyramid of one level has no neighbours, and nothing for the parts that look at them."""
    decoder = config.localizer.decoder
    return isinstance(decoder, PyramidConfig) and decoder.levels == 1


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


def compile_localizer(localizer: Localizer) -> None:
    """Compile it, for every length that a batch is cut to (`used_length`: sixteenths of the window).

    torch gives up on a function after eight shapes, and computes it uncompiled from then on.
    """
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _COMPILED_SHAPES)
    localizer.compile()


def build_trainer(
    config: RunConfig,
    out: Path,
    accelerator: Accelerator,
    run_id: str,
    provenance: dict[str, Any],
    data: RunData,
    encoder: Encoder | None,
    hosts: Hosts,
    share: Share,
) -> Trainer:
    """The whole run at its start, or at the checkpoint to go on from when there is one.

    ``encoder`` has the weights that a run begins with, ``share`` is this process's part.
    """
    stores = open_stores(config, out, accelerator, run_id, hosts)
    channels = stores.rows.spec.channels if stores.rows is not None else (encoder.channels if encoder else 0)
    network = build_network(config, len(data.labels), channels, encoder)
    checkpoint = None
    with hosts.together():
        if hosts.number == 0:
            checkpoint = choose_checkpoint(
                out / "checkpoints", stores.memory.generation if stores.memory else None
            )
    accelerator.wait_for_everyone()
    if checkpoint is not None and stores.memory is not None and hosts.rank == 0:
        drop_ahead(out / "checkpoints", stores.memory.generation)
    begun = hosts.first(checkpoint is not None)
    if config.train.start_from and not begun:
        start_from(network, config.train.start_from, data.labels)
    if config.train.compile:
        compile_localizer(network.localizer)
    device = accelerator.device.type
    optimizer = build_optimizer(network, config.optim, config.adapter_lr_multiplier, device)
    average = WeightAverage(network, config.train.ema_decay) if config.train.ema_decay else None
    state, scaler_state = TrainState(run_id=run_id, trunk=trunk_sha256(network)), None
    with on_every_host(checkpoint, out, hosts) as here:
        if here is not None:
            state = here.state
            scaler_state = _restore(here, network, optimizer, average, device)
    sampler, loader = build_loader(config, accelerator, data, encoder, share.slots)
    if stores.memory is not None and hosts.processes > 1:
        share_out(stores.memory, sampler.windows, share.of_host, accelerator, hosts, resumed=begun)
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    if average is not None:
        average.state = {k: v.to(accelerator.device) for k, v in average.state.items()}
    if scaler_state is not None and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(scaler_state)
    write_back = WriteBack(stores.memory) if stores.memory is not None else None
    half = stores.rows is not None and stores.rows.spec.dtype == "float16"
    train_step = TrainStep(
        config, accelerator, wrapped, optimizer, stores.rows, write_back, half, share.place
    )
    validator = None
    if data.ground_truth is not None:
        rows = None if config.end_to_end else stores.rows
        validator = Validator(
            config, accelerator, data.validation, share.validation, data.ground_truth, data.labels, rows
        )
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
        ages=_ages(config, out, hosts, stores.memory, sampler),
        write_back=write_back,
        validator=validator,
        keeper=ModelKeeper(out, config, data.labels, provenance | stores.provenance, data.ground_truth),
        state=state,
        log=RunLog(out if accelerator.is_main_process else None, state.step),
    )


def _restore(
    checkpoint: Checkpoint,
    network: MemoryNetwork,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
    device: str,
) -> dict[str, Any] | None:
    """Load a checkpoint's weights and optimizer; returns the state of fp16's loss scaler, if it has one."""
    weights, averaged, saved = load_weights(checkpoint.path)
    then, now = checkpoint.state.trunk, trunk_sha256(network)
    if then != now:
        raise CheckpointError(
            f"{checkpoint.path} holds what was trained on top of encoder weights with sha256 "
            f"{then or '(none)'}; those of encoder.weights have {now or '(none)'} now: bring the same weights"
        )
    network.load_state_dict(network.completed(weights))
    load_optimizer(optimizer, saved["optimizer"], device)
    if average is not None and averaged is not None:
        average.state = network.completed(averaged)
    log.info("going on from step %d (%s)", checkpoint.state.step, checkpoint.path.name)
    return saved.get("scaler")


def _ages(
    config: RunConfig, out: Path, hosts: Hosts, memory: FeatureStore | None, sampler: BatchSampler
) -> AgeSnapshots | None:
    """Snapshots for the samplers that look at ages; None for the others."""
    if memory is None or config.memory.sampler not in ("oldest", "mixture"):
        return None
    return AgeSnapshots(out, hosts.local_rank, memory, sampler.videos, sampler.windows.rows_per_clip)


def new_run_id() -> str:
    """A name that no other run has; the memory carries it too."""
    return uuid.uuid4().hex
