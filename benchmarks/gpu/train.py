"""Section train: how much of a real step the card stands still, and what for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.gpu.making import close_trainer, make_trainer
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import SWIN_B, SWIN_T, TOY_ENCODER, decoder_settings, run_config
from pipelines.config import RunConfig
from pipelines.extract import ExtractOptions, extract
from pipelines.train.encode import loader_workers
from pipelines.train.loop import Trainer
from pipelines.train.run_log import Pace, read_log
from pipelines.train.step_record import StepRecord
from tal.memory.clip_loader import Batch
from tal.memory.store_reader import read_batch

WAITING = 0.15
_WARM, _STEPS = 4, 12
_RATIO, _BATCH = 0.4, 4


def run(work: Workplace) -> None:
    """The trainer on the videos, then its step again with pictures that lie on the device already."""
    for settings in (TOY_ENCODER,) if work.toy else (SWIN_T, SWIN_B):
        config = _config(work, settings)
        extract(config, ExtractOptions(device=work.device))
        trainer = make_trainer(config, work.folder / f"train-{settings['name']}".replace(":", "-"))
        try:
            row = _measure(work, trainer)
        finally:
            close_trainer(trainer)
        work.results.add("train", row)
        name, value = f"train.{settings['name']}.waiting", row["waiting_but_for_the_loader"]
        work.results.check(name, value <= WAITING, value, WAITING, "of a step", needs_cuda=True)


def _config(work: Workplace, settings: dict[str, Any]) -> RunConfig:
    rows, windows = (16, 8) if work.toy else (240, 6)
    return run_config(
        work,
        "train",
        settings,
        data={"val_subset": ""},
        memory={"ratio": _RATIO},
        window={"num_rows": rows, "windows_per_video": windows},
        localizer={"decoder": decoder_settings("actionformer", work.toy)},
        train={
            "device": work.kind,
            "precision": "fp32" if work.toy else "bf16",
            "batch_size": 2 if work.toy else _BATCH,
            "epochs": 1,
            "checkpoint_every": 1000,
            "log_every": 1000,
        },
    )


class _Watched:
    """Stands before a trainer's steps: when each begins, and its batch, of which the last is kept."""

    def __init__(self, trainer: Trainer) -> None:
        self.begins: list[float] = []
        self.batch: Batch | None = None
        self._real = trainer.train_step.run
        trainer.train_step.run = self  # type: ignore[method-assign]

    def __call__(
        self, number: int, batches: Sequence[Batch], meanwhile: Callable[[], Sequence[Batch]] | None = None
    ) -> StepRecord:
        self.begins.append(time.perf_counter())
        (self.batch,) = batches
        return self._real(number, batches, meanwhile)


def _measure(work: Workplace, trainer: Trainer) -> dict[str, Any]:
    config, real = trainer.config, trainer.train_step.run
    watched = _Watched(trainer)
    trainer.train_epoch(0, Pace(0))
    periods = [b - a for a, b in zip(watched.begins, watched.begins[1:], strict=False)][_WARM:]
    assert config.encoder is not None and watched.batch is not None and watched.batch.clips is not None
    loader = statistics.median(r["wait_s"] for r in read_log(trainer.out, "step")[_WARM:])
    step_s, clips = statistics.median(periods), watched.batch.clips
    resident = replace(watched.batch, clips=clips.to(work.where))
    number = trainer.state.step

    def take() -> None:
        nonlocal number
        number += 1
        real(number, [resident])

    resident_s = _median(work, take)
    store = trainer.train_step.store
    assert store is not None
    store_s = _median(work, lambda: read_batch(store, resident.samples, number))
    h2d_s = _median(work, lambda: clips.to(work.where))
    frames = config.encoder.frame_stride * config.window.num_rows * len(resident.samples)
    return {
        "encoder": config.encoder.name,
        "precision": config.train.precision,
        "workers": loader_workers(config, trainer.accelerator),
        "steps": len(periods),
        "step_s": step_s,
        "resident_s": resident_s,
        "window_frames_s": frames / step_s,
        "encoded_frames_s": clips.frames.shape[:2].numel() / step_s,
        "waiting": max(0.0, 1 - resident_s / step_s),
        "waiting_but_for_the_loader": max(0.0, 1 - resident_s / max(step_s - loader, 1e-9)),
        # each by itself; the store and the copy go on beside the computation
        "parts_s": {"loader": loader, "store": store_s, "h2d": h2d_s},
    }


def _median(work: Workplace, call: Callable[[], object]) -> float:
    """Median seconds of a call until the device is through."""
    import torch

    seconds = []
    for _ in range(_WARM + (2 if work.toy else _STEPS)):
        begin = time.perf_counter()
        call()
        if work.on_cuda:
            torch.cuda.synchronize(work.where)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[_WARM:])
