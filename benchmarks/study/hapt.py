"""Studies on stored features of UCI HAPT: all decoders, and CLTDR-GMG's own ablations."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from benchmarks.study.matrix import Variant
from pipelines.config import load_config
from pipelines.presets import list_presets

# What differs between the decoders beside the shared preset.
_PYRAMID_128 = ("embed_dim=128", "head_dim=128")
_DECODERS: dict[str, tuple[str, ...]] = {
    "actionformer": _PYRAMID_128,
    "temporalmaxer": _PYRAMID_128,
    "tridet": (*_PYRAMID_128, "iou_weight_power=0.2"),
    "cltdr_gmg": _PYRAMID_128,
    "daotad": ("channels=128", "fpn_channels=128", "mlp_channels=512", "num_levels=6"),
    "afsd": (
        *("channels=128", "upsample=2", "prior=0.01", "labels=segment"),
        "regression_ranges=[[0, 4], [2, 8], [4, 16], [8, 32], [16, 64], [32, 10000]]",
    ),
}
# As DaoTAD merges its candidates.
_NMW = ("inference.suppression.method=nmw", "inference.suppression.iou_threshold=0.5")
_ABLATIONS = "cltdr/ablation-"


def hapt(sets: Sequence[str]) -> list[Variant]:
    """The decoders, each with what it needs to be its own."""
    return [_variant(name, name, [*(_NMW if name == "daotad" else ()), *sets]) for name in _DECODERS]


def hapt_ablations(sets: Sequence[str]) -> list[Variant]:
    """CLTDR-GMG's Tables 6 to 11: what its presets of them change, in the variant without faults."""
    variants = [_variant("whole", "cltdr_gmg", sets)]
    for name, path in list_presets().items():
        if name.startswith(_ABLATIONS):
            own = yaml.safe_load(path.read_text())["localizer"]["decoder"].items()  # of this file alone
            chosen = [f"localizer.decoder.{key}={json.dumps(value)}" for key, value in own]
            variants.append(_variant(name.removeprefix(_ABLATIONS), "cltdr_gmg", [*chosen, *sets]))
    return variants


def hapt_release(sets: Sequence[str]) -> list[Variant]:
    """What longtal does otherwise than TALLFormer's release, in each of its two decoders."""
    conv = ("localizer.decoder.pyramid=conv", *_NMW)
    as_released = "localizer.decoder.release=true"
    return [
        _variant("afsd", "afsd", sets),
        _variant("afsd as released", "afsd", [as_released, *sets]),
        _variant("daotad, convolutions", "daotad", [*conv, *sets]),
        _variant("daotad, convolutions as released", "daotad", [*conv, as_released, *sets]),
    ]


def _variant(name: str, decoder: str, sets: Sequence[str]) -> Variant:
    settings = [f"localizer.decoder.{own}" for own in (f"name={decoder}", *_DECODERS[decoder])]
    return Variant(name, load_config("hapt", [*settings, *sets]))
