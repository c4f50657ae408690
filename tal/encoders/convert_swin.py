"""Video Swin checkpoints of mmaction-style code bases (TALLFormer and others), by torchvision's names.

`backbone.layers.i.blocks.j` becomes `features.2i.j`, `layers.i.downsample` becomes `features.2i+1`, the
MLP's `fc1`, `fc2` become `0`, `3`. Left out are the classifier, the index tables, which follow from the
window size, and the tensors of ones that TALLFormer's blocks carry for activation checkpointing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from tal.errors import WeightsError
from tal.shared.weights import load_strict

_BLOCK = re.compile(r"^layers\.(\d+)\.blocks\.(\d+)\.(.+)$")
_MERGER = re.compile(r"^layers\.(\d+)\.downsample\.(.+)$")
_PREFIXES = ("backbone.", "model.backbone.")
_UNUSED = ("cls_head.", "head.")
# Tables that follow from the size of the window; checkpoints may or may not carry them.
INDEX_TABLE = "relative_position_index"
# Width after the patches and blocks of the third stage -> name here.
_NETWORKS = {(96, 6): "swin3d_t", (96, 18): "swin3d_s", (128, 18): "swin3d_b"}


def _bare(name: str) -> str:
    for prefix in sorted(_PREFIXES, key=len, reverse=True):
        name = name.removeprefix(prefix)
    return name


def is_mmaction_swin(state: Mapping[str, Tensor]) -> bool:
    return any(_BLOCK.match(_bare(k)) for k in state)


def convert_mmaction_swin(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Rename; raises WeightsError with the names that have no place."""
    converted: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, value in state.items():
        bare = _bare(name)
        if bare.startswith(_UNUSED) or bare.endswith((INDEX_TABLE, "dummy_tensor")):
            continue
        if block := _BLOCK.match(bare):
            stage, index, rest = block.groups()
            rest = rest.replace("mlp.fc1.", "mlp.0.").replace("mlp.fc2.", "mlp.3.")
            converted[f"features.{2 * int(stage)}.{index}.{rest}"] = value
        elif merger := _MERGER.match(bare):
            converted[f"features.{2 * int(merger[1]) + 1}.{merger[2]}"] = value
        elif bare.startswith(("patch_embed.", "norm.")):
            converted[bare] = value
        else:
            unknown.append(name)
    if unknown:
        more = ", …" if len(unknown) > 8 else ""
        raise WeightsError(f"{source}: {len(unknown)} unexpected: {', '.join(unknown[:8])}{more}")
    return converted


def mmaction_swin_name(state: Mapping[str, Tensor], source: str) -> str:
    """The encoder that a checkpoint is of, by its width and depth.

    Raises
    ------
    WeightsError
        not a Video Swin, or none of the three sizes.
    """
    bare = {_bare(name): value for name, value in state.items()}
    patches = bare.get("patch_embed.proj.weight")
    if patches is None or not is_mmaction_swin(state):
        raise WeightsError(
            f"{source}: its encoder is not a Video Swin of mmaction's names (such as {next(iter(state))})"
        )
    blocks = {found[2] for name in bare if (found := _BLOCK.match(name)) and found[1] == "2"}
    width = patches.shape[0] if patches.dim() else 0
    name = _NETWORKS.get((width, len(blocks)))
    if name is None:
        known = "; ".join(f"{named} {w} and {n}" for (w, n), named in _NETWORKS.items())
        raise WeightsError(
            f"{source}: a Video Swin of {width} channels with {len(blocks)} blocks in its third stage is "
            f"none of {known}"
        )
    return name


def load_mmaction_swin(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a checkpoint strictly into torchvision's network without its classifier.

    Raises
    ------
    WeightsError
        lists what is missing, unexpected or of another shape; nothing was loaded.
    """
    derived = {k: v for k, v in model.state_dict().items() if k.endswith(INDEX_TABLE)}
    load_strict(model, {**convert_mmaction_swin(state, source), **derived}, source)
