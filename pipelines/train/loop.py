"""The loop: epochs of steps, validation, checkpoints; the modules beside this one do the parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.shared.console import log
from pipelines.train.checkpoint import TrainState, optimizer_state, prune, save_checkpoint
from pipelines.train.ema import WeightAverage
from pipelines.train.epoch_log import EpochTotals, memory_report, peak_memory_mib
from pipelines.train.finetune_localizer import encode_memory, take_average
from pipelines.train.hosts.group import PATIENCE
from pipelines.train.look_ahead import LookAhead
from pipelines.train.models import ModelKeeper
from pipelines.train.optim import lr_factor, set_lr
from pipelines.train.run_log import OnStep, Pace, RunLog, say_step
from pipelines.train.snapshots import AgeSnapshots
from pipelines.train.step import TrainStep
from pipelines.train.step_record import StepRecord
from pipelines.train.validate import Validator
from tal.errors import LongtalError
from tal.memory.clip_loader import Batch
from tal.memory.handing_over import Receiver
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import BatchSampler
from tal.memory.store_reader import AgeSnapshot
from tal.memory.writeback import WriteBack


class TrainingStopped(LongtalError, RuntimeError):
    """Too many steps had a loss or a gradient that is not finite."""


@dataclass
class Trainer:
    """A run: its parts, put together by `pipelines.train.setup`, and the order in which they work.

    Attributes
    ----------
    out
        the run's folder.
    network
        encoder and localizer, not wrapped for several processes (``train_step`` holds the wrapped one).
    memory, write_back
        the store that steps write to; None when no row ever changes.
    ages
        snapshots of the rows' ages; None when no sampler looks at them.
    average, validator
        None when the run has none.
    state
        how far the run is.
    on_step
        called after each step with (steps done, steps in all, loss); the console has no lines of steps then.
    """

    config: RunConfig
    out: Path
    accelerator: Accelerator
    network: MemoryNetwork
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    train_step: TrainStep
    sampler: BatchSampler
    loader: DataLoader
    memory: FeatureStore | None
    ages: AgeSnapshots | None
    write_back: WriteBack | None
    validator: Validator | None
    keeper: ModelKeeper
    state: TrainState
    log: RunLog
    receiver: Receiver = field(default_factory=Receiver)
    # of the checkpoint that a killed run would go back to
    last_checkpoint_epoch: int = field(init=False)
    # why the newest validation gave no result; empty: it did
    unmeasured: str = ""
    on_step: OnStep | None = None

    def __post_init__(self) -> None:
        self.last_checkpoint_epoch = self.state.epoch

    def run(self) -> TrainState:
        """Train to the end; returns the final state."""
        if self.state.step == 0 and self.state.generation is None:
            self.checkpoint(commit=False)  # a run killed before its first commit starts from here again
        pace = Pace(self.state.step)
        while self.state.epoch < self.config.train.epochs:
            epoch = self.state.epoch
            if epoch == self.sampler.windows.finetune_from and self.state.step_in_epoch == 0:
                self.begin_finetuning()
                pace.skip(self.state.step)
            self.train_epoch(epoch, pace)
            self.state.epoch, self.state.step_in_epoch = epoch + 1, 0
            last = self.state.epoch == self.config.train.epochs
            if self.validator is not None and self._validation_due(epoch, last):
                self._try_to_validate(epoch, last)
            every = self.config.train.checkpoint_every
            if last or not every or self.state.step % every == 0:
                self.checkpoint()
            pace.skip(self.state.step)
        self._choose_model()
        return self.state

    def begin_finetuning(self) -> None:
        """Encode all training rows anew with the encoder that the model will have; it rests from here on.

        That encoder is the averaged one, when an average is kept; the network's own becomes the same.
        """
        assert self.memory is not None and self.network.encoder is not None
        start, step = time.perf_counter(), self.state.step
        if self.write_back is not None:
            self.write_back.drain()
        if self.average is not None:
            take_average(self.network.encoder, self.average.state)
        rows = encode_memory(
            self.network.encoder, self.memory, self.sampler.videos, step, self.config, self.accelerator
        )
        self.accelerator.wait_for_everyone()
        seconds = time.perf_counter() - start
        self.log.write("finetune_localizer", step, rows=rows, seconds=seconds)
        log.info(
            "the encoder rests from here on; %d rows of the memory encoded anew in %.0f s", rows, seconds
        )

    def train_epoch(self, epoch: int, pace: Pace) -> None:
        """The steps of one epoch that are still to do."""
        steps, totals = self.sampler.windows.steps_per_epoch, EpochTotals()
        first = self.state.step - self.state.step_in_epoch
        self.sampler.start(epoch, self.state.step_in_epoch, self._ages(epoch, first))
        self.train_step.network.train()
        start, waited = time.perf_counter(), self.write_back.waited_s if self.write_back else 0.0
        source = LookAhead(self.batches())
        for batches, wait_s in source:
            factor = lr_factor(self.state.step, steps, self.config.train.epochs, self.config.optim)
            set_lr(self.optimizer, factor)
            record = self.train_step.run(self.state.step + 1, batches, source.next_batches)
            self.state.step += 1
            self.state.step_in_epoch += 1
            self._after_step(record)
            totals.add(record, wait_s)
            self._log_step(epoch, steps, record, wait_s, pace)
            every = self.config.train.checkpoint_every
            if every and self.state.step % every == 0 and self.state.step_in_epoch < steps:
                self.checkpoint()
        if self.write_back is not None:
            self.write_back.drain()
            totals.write_wait_s = self.write_back.waited_s - waited
        report = totals.report()
        if self.memory is not None:
            report |= memory_report(self.memory, self.sampler.videos, self.state.step, first)
        report["seconds"] = time.perf_counter() - start
        report["peak_memory_mib"] = peak_memory_mib(self.accelerator.device)
        self.log.write("epoch", self.state.step, epoch=epoch, **report)

    def _ages(self, epoch: int, first: int) -> AgeSnapshot | None:
        """Ages of this process's clips as the epoch began, after ``first`` steps."""
        if self.ages is None:
            return None
        if self.state.step_in_epoch:
            return self.ages.read(epoch, first)
        return self.ages.take(epoch, first, self.last_checkpoint_epoch)

    def batches(self) -> Iterator[tuple[list[Batch], float]]:
        """The micro-batches of each step with the seconds that the loop waited for them."""
        source, parts = iter(self.loader), self.config.train.accumulate
        for _ in range(len(self.sampler) // parts):
            start = time.perf_counter()
            batches = [self.receiver.take(next(source)) for _ in range(parts)]
            yield batches, time.perf_counter() - start

    def _after_step(self, record: StepRecord) -> None:
        if record.finite:
            if self.average is not None:
                self.average.update(self.network, self.state.step)
            return
        if record.overflow:
            self._lower_scale()
            return
        self.state.nonfinite += 1
        limit = self.config.train.max_nonfinite
        log.warning(
            "step %d: loss %s, gradient norm %s: neither weights nor memory moved (%d of %d such steps)",
            self.state.step,
            record.losses.get("loss"),
            record.grad_norm,
            self.state.nonfinite,
            limit,
        )
        if self.state.nonfinite > limit:
            raise TrainingStopped(
                f"stopped at step {self.state.step}: {self.state.nonfinite} steps had a loss or gradient "
                f"that is not finite (train.max_nonfinite {limit}); lower optim.lr, lengthen "
                f"optim.warmup_epochs, or set train.precision=fp32"
            )

    def _lower_scale(self) -> None:
        """Note a step that fp16's loss scale overflowed, as it does at first and when it tries a higher one.

        Raises
        ------
        TrainingStopped
            a scale below 1 overflows too: gradients are not finite for another reason.
        """
        self.state.overflows += 1
        scale = self.accelerator.scaler.get_scale()
        log.info(
            "step %d left out: the gradient overflowed in fp16; loss scale now %g", self.state.step, scale
        )
        if scale < 1:
            raise TrainingStopped(
                f"stopped at step {self.state.step}: gradients are not finite in fp16 at a loss scale of "
                f"{2 * scale:g}; set train.precision=bf16 or fp32, lower optim.lr, or lengthen "
                "optim.warmup_epochs"
            )

    def _log_step(self, epoch: int, steps: int, record: StepRecord, wait_s: float, pace: Pace) -> None:
        every, done = self.config.train.log_every, self.state.step
        lr = max(group["lr"] for group in self.optimizer.param_groups)
        values = {"epoch": epoch, "lr": lr, "wait_s": wait_s, **record.log_values()}
        self.log.write("step", done, **values)
        total = steps * self.config.train.epochs
        if self.on_step is not None:
            self.on_step(done, total, values["loss"])
        elif done % every == 0 or self.state.step_in_epoch == 1:
            rate = pace.look(done)
            if self.accelerator.is_main_process:
                parts = [name for name in record.losses if name != "loss"]
                say_step(values | {"step": done, "parts": parts}, self.config.train.epochs, total, rate)

    def _validation_due(self, epoch: int, last: bool) -> bool:
        train = self.config.train
        return last or (epoch + 1 >= train.validate_from and (epoch + 1) % train.validate_every == 0)

    def _try_to_validate(self, epoch: int, last: bool) -> None:
        """Validate; what is trained is worth a model also where that fails.

        Before the last validation its weights are RUN/model already, unless better ones are: so they are also
        there when the process ends in it.
        """
        chosen = self.state.best and self.config.train.select == "best"
        if last and not chosen:
            self._write_last()
        try:
            self.validate(epoch)
        except LongtalError as error:
            self.unmeasured = str(error)
            self.log.write("validation_failed", self.state.step, epoch=epoch, error=str(error))
            then = "training goes on"
            if last:
                then = f"the model has {'the best weights before it' if chosen else 'the last weights'}"
            log.warning("epoch %d: the validation failed: %s; %s", epoch + 1, error, then)
        else:
            self.unmeasured = ""

    def validate(self, epoch: int) -> None:
        """mAP with the averaged weights when there are any; keeps the best models."""
        assert self.validator is not None
        start = time.perf_counter()
        with self.averaged():
            validation = self.validator.run(self.network)
            result = validation.result
            if self.accelerator.is_main_process:
                by_tiou = {f"mAP@{t:.2f}": m for t, m in zip(result.tiou, result.mAP, strict=True)}
                self.log.write(
                    "validation",
                    self.state.step,
                    epoch=epoch,
                    mAP=result.average_mAP,
                    **by_tiou,
                    seconds=time.perf_counter() - start,
                )
                log.info("epoch %d: validation mAP %.4f", epoch + 1, result.average_mAP)
                self.state.best = self.keeper.offer(
                    self.network, self.state.step, validation, self.state.best
                )
        self.accelerator.wait_for_everyone()

    def _choose_model(self) -> None:
        """At the end: without validation the last weights are the model."""
        if self.validator is None:
            self._write_last()
        elif self.state.best and self.config.train.select == "best":
            best = self.state.best[0]
            log.info("best validation mAP %.4f at step %d", best["value"], best["step"])

    def _write_last(self) -> None:
        if self.accelerator.is_main_process:
            with self.averaged():
                self.keeper.write_last(self.network, self.state.step)

    def averaged(self) -> AbstractContextManager[None]:
        """A block in which the network holds the weights to judge."""
        return self.average.applied(self.network) if self.average is not None else nullcontext()

    def checkpoint(self, commit: bool = True) -> None:
        """The memory's next generation and the weights that belong to it, both or none (`hosts.settle`).

        Every process prepares its rows, the first writes the checkpoint that names the generation, then the
        memory of each host commits it.
        """
        if self.write_back is not None:
            self.write_back.drain()
        memory = self.memory if commit else None
        if self.memory is not None:
            self.state.generation = self.memory.generation + int(commit)
        if memory is not None:
            memory.prepare_commit()
        self.accelerator.wait_for_everyone()
        folder = self.out / "checkpoints"
        if self.accelerator.is_main_process:
            save_checkpoint(
                folder,
                self.state,
                self.network.trained(self.network.state_dict()),
                self.network.trained(self.average.state) if self.average is not None else None,
                optimizer_state(self.optimizer, self.accelerator),
            )
        self.accelerator.wait_for_everyone()
        if memory is not None:
            memory.commit(PATIENCE.total_seconds())
            self.accelerator.wait_for_everyone()
        self.last_checkpoint_epoch = self.state.epoch
        if self.accelerator.is_main_process:
            prune(folder)
