"""TALLFormer's tables on gym, which a CPU trains: what differs from one variant of a table to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.study.matrix import Variant, trained_for
from pipelines.config import load_config

Sets = Sequence[str]

# What has no memory: every clip of a short window with gradient, nothing stored. 52 rows: as many pictures
# with gradient in a step as r = .15 has of a window of 352.
_NO_MEMORY = (
    "data.store=",
    "memory.ratio=1",
    'memory.write_back="off"',
    "memory.warmup_epochs=0",
    "memory.finetune_localizer_epochs=0",
    "window.num_rows=52",
    "inference.window_rows=52",
)
# A row is refreshed to the end, so that its age is that of training.
_LEARNING = "memory.finetune_localizer_epochs=0"

# TALLFormer's Table 5a
_SHARES = {f"r{ratio}": (f"memory.ratio={ratio}",) for ratio in (0.15, 0.3, 0.6, 1.0)}
# TALLFormer's Table 2
_WINDOWS = {
    "memory, 70 s at 5 fps": (),
    "no memory, 10 s at 5 fps": _NO_MEMORY,
    "no memory, 70 s at 0.75 fps": (*_NO_MEMORY, "data.fps=0.75", "localizer.decoder.levels=4"),
}
# TALLFormer's Table 5b, on a schedule three times the preset's
_TCM = {f"TCM of {layers} layers": (*trained_for(30), f"localizer.tcm.layers={layers}") for layers in (0, 3)}
# Accuracy against the age of rows: which clips are chosen, what is stored, how fast the encoder moves
_AGES = {
    **{name: (f"memory.sampler={name}", _LEARNING) for name in ("uniform", "stratified", "oldest")},
    "oldest, canonical rows": ("memory.sampler=oldest", "memory.write_back=canonical", _LEARNING),
    "oldest, adapters": (
        *("memory.sampler=oldest", "encoder.adapter.kind=temporal"),
        *("encoder.adapter.learning_stages=2", _LEARNING),
    ),
}


def _of_gym(settings: Mapping[str, Sequence[str]]) -> Callable[[Sets], list[Variant]]:
    """A table on gym: the preset with these settings laid over it, by variant."""

    def variants(sets: Sets) -> list[Variant]:
        # a variant without a memory takes back what ``sets`` say of the store
        return [Variant(name, load_config("gym", [*sets, *own])) for name, own in settings.items()]

    return variants


gym_shares, gym_windows, gym_tcm, gym_ages = map(_of_gym, (_SHARES, _WINDOWS, _TCM, _AGES))
