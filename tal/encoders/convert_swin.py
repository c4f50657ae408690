"""Video Swin checkpoints of mmaction-style code bases (TALLFormer and others), by torchvision's names.

`backbone.layers.i.blocks.j` becomes `features.2i.j`, `layers.i.downsample` becomes `features.2i+1`, the
MLP's `fc1`, `fc2` become `0`, `3`. Left out are the classifier, and the index tables, which follow from the
window size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from tal.errors import WeightsError

_BLOCK = re.compile(r"^layers\.(\d+)\.blocks\.(\d+)\.(.+)$")
_MERGER = re.compile(r"^layers\.(\d+)\.downsample\.(.+)$")
_PREFIXES = ("backbone.", "model.backbone.")
_UNUSED = ("cls_head.", "head.")


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
        if bare.startswith(_UNUSED) or bare.endswith("relative_position_index"):
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
