"""Training steps on made-up pictures, as a run takes them, from pinned memory; and whole runs by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState

from benchmarks.gpu.settings import NUM_CLASSES
from pipelines.budget.probe import build_step, made_batches
from pipelines.config import RunConfig
from pipelines.train.hosts import Hosts
from pipelines.train.hosts.share import share_of
from pipelines.train.loop import Trainer
from pipelines.train.preflight import make_ready
from pipelines.train.setup import build_accelerator, build_trainer, new_run_id
from pipelines.train.step import TrainStep
from pipelines.train.step_record import StepRecord
from tal.memory.clip_loader import Batch


@dataclass
class MadeSteps:
    """A step to be taken again and again, each time on the next of its batches.

    Attributes
    ----------
    batches
        in pinned memory where the device is CUDA.
    number
        steps taken.
    """

    train_step: TrainStep
    batches: Sequence[Batch]
    number: int = 0

    @property
    def device(self) -> torch.device:
        return self.train_step.accelerator.device

    def take(self) -> StepRecord:
        """One optimizer step; it reads its numbers, so that the device is through with all but its end."""
        batch = self.batches[self.number % len(self.batches)]
        self.number += 1
        return self.train_step.run(self.number, [batch])


def make_steps(config: RunConfig, count: int, half_store: bool = True) -> MadeSteps:
    """``count`` batches and what steps on them; the last one's windows are without any action."""
    forget_accelerator()
    train_step, encoder = build_step(config, 0, NUM_CLASSES, half_store)
    torch.manual_seed(0)  # of the pictures
    batches = made_batches(config, encoder, count + 1)[1:]  # the first is of one window
    batches[-1] = without_actions(batches[-1])
    if train_step.accelerator.device.type == "cuda":
        batches = [batch.pin_memory() for batch in batches]
    return MadeSteps(train_step, batches)


def forget_accelerator() -> None:
    """accelerate holds one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)


def without_actions(batch: Batch) -> Batch:
    """The batch as of windows that show nothing to learn."""
    nothing, no_label = np.zeros((0, 2)), np.zeros(0, np.int64)
    return replace(batch, samples=[replace(s, segments=nothing, labels=no_label) for s in batch.samples])


def make_trainer(config: RunConfig, out: Path) -> Trainer:
    """A run as `longtal train` makes it, to be stepped by hand; its store must be there."""
    forget_accelerator()
    out.mkdir(parents=True, exist_ok=True)
    ready = make_ready(config, out)
    accelerator = build_accelerator(config)
    assert ready.data is not None
    hosts = Hosts.here()
    share = share_of(config, ready.data, hosts)
    return build_trainer(config, out, accelerator, new_run_id(), {}, ready.data, ready.encoder, hosts, share)


def close_trainer(trainer: Trainer) -> None:
    """Close what the run has open."""
    if trainer.write_back is not None:
        trainer.write_back.close()
    if trainer.train_step.store is not None:
        trainer.train_step.store.close()
    trainer.log.close()
