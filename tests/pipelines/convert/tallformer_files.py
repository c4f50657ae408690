"""TALLFormer checkpoints as its trainers write them, put together from the reference files."""

import torch

from benchmarks.golden import FOLDER
from benchmarks.golden.reference import Reference

# A neck's modules in order, as the two code paths number them.
_ORDER = ("srm", "tcm", "tdm", "fpn")


def golden(name):
    return Reference.read(FOLDER / f"{name}.safetensors")


def published(weights, afsd=False):
    """Names of a reference file -> those of a checkpoint: modules of the neck by number."""
    neck = "coarse_pyramid_detection.pyramids" if afsd else "neck"
    own = {f"{neck}.0": "tdm", f"{neck}.1": "fpn"} if afsd else {}
    parted = {}
    for name, value in weights.items():
        for numbered, part in own.items():
            if name.startswith(f"{numbered}."):
                name = name.replace(numbered, part, 1)
        parted[name] = value
    present = [part for part in _ORDER if any(name.startswith(f"{part}.") for name in parted)]
    number = {part: index for index, part in enumerate(present)}
    numbered = {}
    for name, value in parted.items():
        part, _, rest = name.partition(".")
        numbered[f"{neck}.{number[part]}.{rest}" if part in number else name] = value
    if not afsd and any(".trans_layers." in name for name in numbered):  # a table that a checkpoint carries
        numbered[f"neck.{number['tdm']}.pe.pe"] = torch.zeros(5000, 1, 48)
    return numbered


def behind_consistency(name):
    """A decoder's reference weights behind those of downsampling and consistency module (64 channels).

    What reads their output is random: in the reference file it reads 48 channels.
    """
    weights = golden(name).under("weights/")
    generator = torch.Generator().manual_seed(1)
    afsd = name.startswith("afsd")
    inputs = {
        "tdm.reductions.0.0.weight": (64, 128),
        "fpn.lateral_convs.0.conv.weight": (32, 64, 1),
        "tdm.layer1.0.conv.weight": (64, 64, 3),
        "coarse_pyramid_detection.pyramids.0.layer1.0.conv.weight": (64, 64, 3),
        "coarse_pyramid_detection.pyramids.1.lateral_convs.0.conv.weight": (64, 64, 1),
    }
    weights |= {k: 0.05 * torch.randn(s, generator=generator) for k, s in inputs.items() if k in weights}
    index = {f"tcm.encoder.layers.{i}.attn.relative_position_index": torch.zeros(60, 60) for i in range(3)}
    return published({**golden("tcm").under("weights/"), **index, **weights}, afsd)
