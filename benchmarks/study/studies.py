"""The studies: their variants, data and yardsticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.study.hapt import hapt, hapt_ablations, hapt_release
from benchmarks.study.matrix import Protocols, Variant, trained_for
from benchmarks.study.motion import motion
from benchmarks.study.papers import gym_ages, gym_shares, gym_tcm, gym_windows
from benchmarks.study.table import Yardstick
from pipelines.config import load_config
from pipelines.extract import extract
from pipelines.store.features import ImportOptions, import_features
from tal.annotations import read_annotations
from tal.metrics.protocols import DEFAULT_TIOU

STRICT = ("0.5:0.95", tuple(round(0.5 + 0.05 * i, 2) for i in range(10)))
USUAL = ("0.3:0.7", DEFAULT_TIOU)


@dataclass(frozen=True)
class Study:
    """One study.

    ``variants(sets)`` builds its rows; ``sets`` are ``--set`` values for all of them. ``rows``: what single
    rows say of actions is measured too.
    """

    description: str
    protocols: Protocols
    yardsticks: tuple[Yardstick, ...]
    variants: Callable[[Sequence[str]], list[Variant]]
    rows: bool = False


_HAPT_SETTING = (
    "released code of each method on the same features: 128 channels, 6 levels, 40 epochs, batch 4, lr 1e-3, "
    "one seed"
)
_GYM_SETTING = "released ActionFormer code on the frozen features: 256 channels, 30 epochs, one seed"

# Epochs of a frozen run in the minutes of ten through the memory (20 and 3.6 of one thread).
_EQUAL_MINUTES = 55


def _gym(sets: Sequence[str]) -> list[Variant]:
    frozen = "memory.ratio=0"
    longer = load_config("gym", [frozen, *trained_for(_EQUAL_MINUTES), *sets])
    return [
        Variant("frozen-r0", load_config("gym", [frozen, *sets])),
        Variant("frozen-r0-equal-minutes", longer),
        Variant("memory-r0.15", load_config("gym", sets)),
    ]


def _gym_decoders(sets: Sequence[str]) -> list[Variant]:
    names = ("gym-daotad", "gym-afsd", "gym-flagship")
    variants = [Variant(name, load_config(f"tallformer/{name}", sets)) for name in names]
    frozen = load_config("tallformer/gym-flagship", ["memory.ratio=0", *sets])
    return [*variants, Variant("gym-flagship-frozen", frozen)]


STUDIES: dict[str, Study] = {
    "hapt": Study(
        "All decoders on stored features of UCI HAPT.",
        dict([STRICT, USUAL]),
        tuple(
            Yardstick(name, {"0.5:0.95": strict, "0.3:0.7": usual}, _HAPT_SETTING)
            for name, strict, usual in (
                ("ActionFormer, released", 0.796, 0.965),
                ("TemporalMaxer, released", 0.798, 0.961),
                ("TriDet, released", 0.809, 0.980),
                ("CLTDR-GMG, released", 0.802, 0.958),
            )
        ),
        hapt,
    ),
    "gym-memory": Study(
        "A frozen encoder against the same encoder trained end to end through the memory, on real footage.",
        dict([USUAL]),
        (Yardstick("ActionFormer, released, frozen features", {"0.3:0.7": 0.228}, _GYM_SETTING),),
        _gym,
    ),
    "gym-decoders": Study(
        "TALLFormer's own decoders and CLTDR-GMG end to end through the memory, same footage and budget.",
        dict([USUAL]),
        (Yardstick("ActionFormer, released, frozen features", {"0.3:0.7": 0.228}, _GYM_SETTING),),
        _gym_decoders,
    ),
    "hapt-ablations": Study(
        "CLTDR-GMG's Tables 6 to 11 on stored features of UCI HAPT.",
        dict([STRICT, USUAL]),
        (),
        hapt_ablations,
    ),
    "hapt-release": Study(
        "Where longtal differs from TALLFormer's release on purpose, on stored features of UCI HAPT.",
        dict([STRICT, USUAL]),
        (),
        hapt_release,
    ),
    **{
        f"gym-{name}": Study(description, dict([USUAL]), (), variants)
        for name, description, variants in (
            ("shares", "TALLFormer's Table 5a: accuracy and memory by the share of clips.", gym_shares),
            ("windows", "TALLFormer's Table 2: short windows and low rates against the memory.", gym_windows),
            ("tcm", "TALLFormer's Table 5b: with and without the consistency module.", gym_tcm),
            ("ages", "Accuracy by how old rows are: samplers, what is stored, adapters.", gym_ages),
        )
    },
    **{
        f"{data}-motion": Study(
            "What of an image encoder should learn through the memory, so that it sees motion.",
            dict([USUAL]),
            (),
            motion(epochs),
            rows=True,
        )
        for data, epochs in (("gym", 7), ("mocap", 14))
    },
}


def data_settings(study: str, data: Path, out: Path) -> list[str]:
    """Where a study's data set lies and where its store is made."""
    values = [f"data.annotations={data / 'annotations.json'}", f"data.store={out / 'features.zarr'}"]
    return values + ([f"data.videos={data / 'videos'}"] if (data / "videos").is_dir() else [])


def make_store(study: str, data: Path, variants: Sequence[Variant]) -> None:
    """Import the features, or extract them with the configured encoders, unless the stores are there."""
    if not study.startswith("hapt"):
        for store, config in {v.config.data.store: v.config for v in reversed(variants)}.items():
            if store:
                extract(config)
        return
    store = Path(variants[0].config.data.store)
    if not store.exists():
        import_hapt(data, store)


def import_hapt(data: Path, store: Path) -> None:
    """One row every 16 samples of 50 Hz, each of a window of 64."""
    videos = read_annotations(data / "annotations.json").videos
    options = ImportOptions("tc", fps=50.0, stride=16, window=64, encoder="hapt", dtype="float32")
    facts = {v.id: {"fps": 50.0, "duration_s": v.duration_s} for v in videos.values()}
    import_features(data / "features", store, options, facts)
