"""Motion through adapters: arms that differ only in what of the same encoder learns, and how.

Clips of eight pictures, so that a bottleneck over time has something to see; clip length, frames a step,
augmentation, decoder and steps are the same for all. The encoder learns to the end, so that age and drift of
the rows that the decoder reads are those of the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.study.matrix import Variant, trained_for
from pipelines.config import load_config

_SAME = (
    "encoder.clip_frames=8",
    "encoder.size=104",
    "encoder.crop=96",
    "memory.finetune_localizer_epochs=0",
    "train.select=last",
)
# AdaTAD's own rate, 2e-4
_ADAPTERS = ("encoder.adapter.kind=temporal", "encoder.adapter.lr_multiplier=0.2")
# a frozen run takes so many times the epochs in the minutes of a run through the memory
_EQUAL_MINUTES = 7
_FROZEN = "memory.ratio=0"
_EQUALLY_LONG = "frozen-equal-minutes"

_ARMS: dict[str, tuple[str, ...]] = {
    "frozen": (_FROZEN,),
    "full": (),
    "temporal_shift": ("encoder.temporal_shift=true",),
    "adapters": _ADAPTERS,
    "adapters+stages": (*_ADAPTERS, "encoder.adapter.learning_stages=2"),
    _EQUALLY_LONG: (_FROZEN,),
}


def motion(epochs: int) -> Callable[[Sequence[str]], list[Variant]]:
    """The arms, each trained for so many epochs. Shifted channels make other rows: a store of their own."""

    def variants(sets: Sequence[str]) -> list[Variant]:
        return [_arm(name, own, epochs, sets) for name, own in _ARMS.items()]

    return variants


def _arm(name: str, own: Sequence[str], epochs: int, sets: Sequence[str]) -> Variant:
    longer = _EQUAL_MINUTES if name == _EQUALLY_LONG else 1
    chosen = [*_SAME, *trained_for(longer * epochs), *own, *sets]
    config = load_config("gym", chosen)
    if config.encoder is not None and config.encoder.temporal_shift:
        store = Path(config.data.store)
        config = load_config("gym", [*chosen, f"data.store={store.with_name(f'shifted-{store.name}')}"])
    return Variant(name, config)
