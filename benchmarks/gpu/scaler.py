"""Section scaler: fp16's loss scale may overflow without ending a run, and a refused step moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.making import MadeSteps, close_trainer, make_steps, make_trainer
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import TOY_ENCODER, decoder_settings, run_config
from pipelines.config import RunConfig
from pipelines.extract import ExtractOptions, extract
from pipelines.train.loop import Trainer
from pipelines.train.step_record import StepRecord
from tal.memory.clip_loader import Batch

STEPS, OVERFLOWS = 200, 30
_EVERY = 6  # steps from one forced overflow to the next
_TOO_HIGH, _USUAL = 2.0**60, 2.0**10
_BEYOND = 1e7  # what rows are multiplied by: no float16 holds them


def run(work: Workplace) -> None:
    """A run of `STEPS` with forced overflows; a step whose rows alone are too large."""
    state, forced = _run_with_overflows(work)
    work.results.put(
        "scaler",
        {
            "steps": state.step,
            "forced": forced,
            "survived_overflows": state.overflows,
            "nonfinite": state.nonfinite,
        },
    )
    held = state.step >= STEPS and state.overflows >= OVERFLOWS and state.nonfinite == 0
    work.results.check("scaler.overflows", held, state.overflows, OVERFLOWS, "survived", needs_cuda=True)
    refused = refused_step(work)
    work.results.put("scaler", work.results.figures["scaler"] | refused)
    held = refused["refused"] and not refused["refused_step_moved_weights"] and not refused["scale_moved"]
    work.results.check("scaler.refused_step", held, note=str(refused), needs_cuda=True)


def _config(work: Workplace, **sections: dict[str, Any]) -> RunConfig:
    tree: dict[str, Any] = {
        "memory": {"ratio": 0.5},
        "window": {"num_rows": 32, "windows_per_video": 8},
        "localizer": {"decoder": decoder_settings("actionformer", toy=True)},
        "train": {
            "device": work.kind,
            "precision": "fp16" if work.on_cuda else "fp32",
            "batch_size": 3,
            "checkpoint_every": 1000,
            "log_every": 1000,
        },
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    return run_config(work, "scaler", TOY_ENCODER, **tree)


def _run_with_overflows(work: Workplace) -> tuple[Any, int]:
    """Train on stored rows alone, the loss scale raised beyond use every few steps; state and how often."""
    config = _config(work)
    extract(config, ExtractOptions(device=work.device, dtype="float32", precision="fp32"))
    data = config.data.model_copy(update={"videos": "", "val_subset": ""})
    config = config.model_copy(update={"data": data})
    trainer = make_trainer(config, work.folder / "scaler")
    epochs = 1 if work.toy else -(-STEPS // trainer.sampler.windows.steps_per_epoch)
    train = config.train.model_copy(update={"epochs": epochs})
    trainer.config = config.model_copy(update={"train": train})
    forcing = _Forcing(trainer)
    try:
        return trainer.run(), forcing.forced
    finally:
        close_trainer(trainer)


class _Forcing:
    """Stands before a trainer's steps and raises the loss scale for some of them."""

    def __init__(self, trainer: Trainer) -> None:
        self.forced = 0
        self._scaler = trainer.accelerator.scaler
        self._real = trainer.train_step.run
        trainer.train_step.run = self  # type: ignore[method-assign]

    def __call__(
        self, number: int, batches: Sequence[Batch], meanwhile: Callable[[], Sequence[Batch]] | None = None
    ) -> StepRecord:
        force = self._scaler is not None and number % _EVERY == 0
        if force:
            self.forced += 1
            self._scaler.update(_TOO_HIGH)
        record = self._real(number, batches, meanwhile)
        if force:
            self._scaler.update(_USUAL)
        return record


def refused_step(work: Workplace) -> dict[str, bool]:
    """A step whose loss and gradients are finite and whose rows a store of 16 bits cannot hold."""
    steps = make_steps(_config(work), 2)
    while steps.take().overflow:
        pass
    network, scaler = steps.train_step.plain, steps.train_step.accelerator.scaler
    assert network.encoder is not None

    def enlarge(_module: Any, _inputs: Any, rows: Tensor) -> Tensor:
        return rows.float() * _BEYOND

    def shrink(_module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0] / _BEYOND, *inputs[1:])

    hooks = [
        network.encoder.register_forward_hook(enlarge),
        network.localizer.register_forward_pre_hook(shrink),
    ]
    before, scale = _weights(steps), scaler.get_scale() if scaler is not None else 0.0
    record = steps.take()
    for hook in hooks:
        hook.remove()
    moved = any(not torch.equal(mine, theirs) for mine, theirs in zip(before, _weights(steps), strict=True))
    return {
        "refused": not record.finite and not record.overflow,
        "refused_step_moved_weights": moved,
        "scale_moved": scaler is not None and scaler.get_scale() != scale,
    }


def _weights(steps: MadeSteps) -> list[Tensor]:
    return [value.detach().clone() for value in steps.train_step.plain.state_dict().values()]
