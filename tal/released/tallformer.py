"""Names of parameters in TALLFormer's released code -> names in a `Localizer` here.

Both of its code paths are read: that for THUMOS14 (``neck.<i>``, ``head``: anchors in the manner of DaoTAD)
and that for ActivityNet and HACS (``coarse_pyramid_detection``: AFSD). The modules of a neck are numbered
there; what they hold tells them apart. The encoder (``backbone``) has mmaction's names (`tal.encoders`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tal.errors import CheckpointError

TALLFORMER = "tallformer"
_ENCODER = "backbone."
_SHOWN = 8

# A module of the neck: by its number, or by the name of its kind as reference files have it.
_NECK = r"(?:srm|tcm|tdm|fpn|neck\.\d+|coarse_pyramid_detection\.pyramids\.\d+)\."
_LAYER = _NECK + r"encoder\.layers\.(\d+)\."
_STAGE = _NECK + r"trans_layers\.(\d+)\."
_AFSD = r"coarse_pyramid_detection\."
# what follows a module of convolution and norm
_BLOCK = r"\.(conv|bn|gn)\.(\w+)"
_OF_BLOCK = {"conv": "conv", "bn": "norm", "gn": "norm"}
_FPN = {"lateral": "lateral", "fpn": "output"}
_RETINA = {"cls": "class", "reg": "offset"}
_BRANCH = {"loc": "location", "conf": "confidence"}
_PARTS = {"cur_point_conv": "own", "lr_conv": "boundary", "roi_conv": "fine", "proposal_conv": "merge"}
_HEADS = {
    "loc_head": "location.head",
    "conf_head": "confidence.head",
    "prop_loc_head": "shift",
    "prop_conf_head": "refined",
    "center_head": "quality",
}
_FINE = {"0": "stack.blocks.0.conv", "1": "stack.blocks.0.norm", "3": "stack.blocks.1.conv"}
_FINE |= {"4": "stack.blocks.1.norm", "6": "point.conv", "7": "point.norm"}


def _less(number: str) -> int:
    """Numbers that begin with 1 there begin with 0 here."""
    return int(number) - 1


# Pattern of a released name -> the name here; the first that matches the whole name decides.
_RULES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (_NECK + r"conv([12])\.(\w+)", lambda m: f"downsampling.convs.{_less(m[1])}.{m[2]}"),
    (_LAYER + r"attn\.relative_position_bias_table", r"tcm.layers.\1.bias.table"),
    (_LAYER + r"attn\.proj\.(\w+)", r"tcm.layers.\1.project.\2"),
    (_LAYER + r"attn\.qkv\.(\w+)", r"tcm.layers.\1.qkv.\2"),
    (_LAYER + r"(norm\d|mlp\.fc\d)\.(\w+)", r"tcm.layers.\1.\2.\3"),
    (_NECK + r"reductions\.(\d+)\.0\.(\w+)", r"decoder.pyramid.stages.\1.merge.\2"),
    (_NECK + r"reductions\.(\d+)\.1\.(\w+)", r"decoder.pyramid.stages.\1.merge_norm.\2"),
    (_STAGE + r"self_attn\.in_proj_(\w+)", r"decoder.pyramid.stages.\1.attention.qkv.\2"),
    (_STAGE + r"self_attn\.out_proj\.(\w+)", r"decoder.pyramid.stages.\1.attention.out.\2"),
    (_STAGE + r"linear1\.(\w+)", r"decoder.pyramid.stages.\1.mlp.0.\2"),
    (_STAGE + r"linear2\.(\w+)", r"decoder.pyramid.stages.\1.mlp.3.\2"),
    (_STAGE + r"norm1\.(\w+)", r"decoder.pyramid.stages.\1.attention_norm.\2"),
    (_STAGE + r"norm2\.(\w+)", r"decoder.pyramid.stages.\1.mlp_norm.\2"),
    (
        _NECK + r"layer(\d{1,3})\.0" + _BLOCK,
        lambda m: f"decoder.pyramid.stages.{_less(m[1])}.{_OF_BLOCK[m[2]]}.{m[3]}",
    ),
    (
        _NECK + r"(lateral|fpn)_convs\.(\d+)" + _BLOCK,
        lambda m: f"decoder.fpn.{_FPN[m[1]]}.{m[2]}.{_OF_BLOCK[m[3]]}.{m[4]}",
    ),
    (
        r"head\.(cls|reg)_convs\.(\d+)" + _BLOCK,
        lambda m: f"decoder.{_RETINA[m[1]]}_tower.blocks.{m[2]}.{_OF_BLOCK[m[3]]}.{m[4]}",
    ),
    (r"head\.retina_(cls|reg)\.(\w+)", lambda m: f"decoder.{_RETINA[m[1]]}_head.{m[2]}"),
    (_AFSD + rf"({'|'.join(_HEADS)})\.conv1d\.(\w+)", lambda m: f"decoder.{_HEADS[m[1]]}.{m[2]}"),
    (_AFSD + r"action_head\.cls\.(\w+)", r"decoder.video.1.\1"),
    (
        _AFSD + r"(loc|conf)_tower\.(\d+)\.(0\.conv1d|1)\.(\w+)",
        lambda m: f"decoder.{_BRANCH[m[1]]}.tower.blocks.{m[2]}.{'conv' if '0' in m[3] else 'norm'}.{m[4]}",
    ),
    (
        _AFSD + rf"(loc|conf)_proposal_branch\.({'|'.join(_PARTS)})\.(0\.conv1d|1)\.(\w+)",
        lambda m: f"decoder.refine_{_BRANCH[m[1]]}.{_PARTS[m[2]]}.{'conv' if '0' in m[3] else 'norm'}.{m[4]}",
    ),
    (_AFSD + r"deconv\.([013467])\.(?:conv1d\.)?(\w+)", lambda m: f"decoder.fine.{_FINE[m[1]]}.{m[2]}"),
    # one number per level there, one vector here
    (_AFSD + r"loc_heads\.(\d{1,3})\.scale", r"decoder.scales.\1"),
]
# Tables that are computed here, and counters that nothing uses.
_UNUSED = re.compile(
    _NECK + r"(?:encoder\.layers\.\d+\.attn\.relative_position_index|pe\.pe)|.*\.num_batches_tracked"
)
_SCALES = re.compile(r"decoder\.scales\.\d+")


def split_encoder(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of the encoder, and all others, under their released names."""
    encoder = {name: value for name, value in weights.items() if name.startswith(_ENCODER)}
    return encoder, {name: value for name, value in weights.items() if name not in encoder}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of a `Localizer`; the scales of levels one by one (``decoder.scales.<i>``).

    Raises
    ------
    CheckpointError
        lists the names that the released code does not have, or says which two are one here.
    """
    origin: dict[str, str] = {}
    unknown = []
    for name in tensors:
        if _UNUSED.fullmatch(name):
            continue
        here = _name_here(name)
        if here is None:
            unknown.append(name)
        elif here in origin:
            raise CheckpointError(
                f"{origin[here]!r} and {name!r} are one parameter here ({here}): the checkpoint has two "
                "modules of a kind, which no released configuration of TALLFormer has"
            )
        else:
            origin[here] = name
    if unknown:
        more = ", …" if len(unknown) > _SHOWN else ""
        raise CheckpointError(
            f"{len(unknown)} unexpected: {', '.join(unknown[:_SHOWN])}{more}: not parameters of TALLFormer's "
            "released code"
        )
    return {here: tensors[name] for here, name in origin.items()}


def to_localizer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released weights, without the encoder's, as a state for a `Localizer`.

    Raises
    ------
    CheckpointError
        as `renamed`.
    """
    state = renamed(weights)
    levels = sorted(
        (name for name in state if _SCALES.fullmatch(name)), key=lambda name: int(name.rpartition(".")[2])
    )
    if levels:
        state["decoder.scales"] = torch.cat([state.pop(name).reshape(-1) for name in levels])
    return state


def _name_here(name: str) -> str | None:
    for pattern, replacement in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return replacement(match) if callable(replacement) else match.expand(replacement)
    return None
