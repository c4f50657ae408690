"""Encoders, decoders and runs of the sections: as users have them on a GPU, and as small as they get."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.results import Workplace
from pipelines.config import RunConfig, parse_config

NUM_CLASSES = 20
TOY_ENCODER: dict[str, Any] = {
    "name": "timm:test_efficientnet",
    "clip_frames": 4,
    "frame_stride": 2,
    "size": 40,
    "crop": 32,
}
SWIN_T: dict[str, Any] = {
    "name": "swin3d_t",
    "clip_frames": 16,
    "frame_stride": 2,
    "size": 128,
    "crop": 112,
}
SWIN_B: dict[str, Any] = {
    "name": "swin3d_b",
    "clip_frames": 32,
    "frame_stride": 2,
    "size": 256,
    "crop": 224,
}
_TOY_PYRAMID = {"embed_dim": 16, "head_dim": 16, "levels": 3}
# Every decoder: what differs from its defaults at full size, and at toy size.
DECODERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "actionformer": ({}, {**_TOY_PYRAMID, "heads": 2, "window": 5}),
    "temporalmaxer": ({"assignment": "sim_ota"}, {**_TOY_PYRAMID, "assignment": "sim_ota"}),
    "tridet": ({}, _TOY_PYRAMID),
    "cltdr_gmg": ({}, {**_TOY_PYRAMID, "mlp_dim": 32}),
    "afsd": ({}, {"channels": 16, "upsample": 2}),
    "daotad": (
        {},
        {"channels": 16, "fpn_channels": 16, "mlp_channels": 32, "num_levels": 4, "num_heads": 4},
    ),
}


def decoder_settings(name: str, toy: bool) -> dict[str, Any]:
    """A decoder's section of a configuration."""
    full, small = DECODERS[name]
    return {"name": name, **(small if toy else full)}


def run_config(work: Workplace, name: str, encoder: dict[str, Any], **sections: dict[str, Any]) -> RunConfig:
    """A run on the videos of the section `videos`, through a memory; ``sections`` are laid over it.

    ``name`` is that of its store: rows of several sections are of several precisions, which do not mix.
    """
    tree: dict[str, Any] = {
        "data": {
            "annotations": str(work.folder / "annotations.json"),
            "videos": str(work.folder / "videos"),
            "store": str(work.folder / f"{name}-{encoder['name'].replace(':', '-')}.zarr"),
            "fps": 15.0,
        },
        "encoder": dict(encoder),
        "train": {"device": work.kind},
    }
    for section, values in sections.items():
        tree[section] = {**tree.get(section, {}), **values}
    return parse_config(tree)
