"""Names of parameters in the released code bases -> names here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tal.errors import CheckpointError

SYSTEMS = ("actionformer", "temporalmaxer", "tridet", "cltdr")

# Rules are tried in order; the first whose pattern matches the whole name decides.
_TOWER = [
    (r"{old}\.head\.(\d+)\.conv\.(\w+)", r"{new}.tower.convs.\1.\2"),
    (r"{old}\.norm\.(\d+)\.(\w+)", r"{new}.tower.norms.\1.\2"),
]


def _tower(old: str, new: str) -> list[tuple[str, str]]:
    return [(a.format(old=old), b.format(new=new)) for a, b in _TOWER]


_COMMON = [
    (r"backbone\.proj\.(\d+)\.conv\.(\w+)", r"backbone.projections.\1.\2"),
    (r"backbone\.embd\.(\d+)\.conv\.(\w+)", r"backbone.embedding.\1.\2"),
    (r"backbone\.embd_norm\.(\d+)\.(\w+)", r"backbone.embedding_norms.\1.\2"),
    (r"neck\.fpn_norms\.(\d+)\.(\w+)", r"neck.norms.\1.\2"),
    *_tower("cls_head", "class_head"),
    (r"cls_head\.cls_head\.conv\.(\w+)", r"class_head.output.\1"),
    *_tower("reg_head", "offset_head"),
    (r"reg_head\.offset_head\.conv\.(\w+)", r"offset_head.output.\1"),
    # one number per level there, one vector here
    (r"reg_head\.scale\.(\d+)\.scale", r"offset_head.scales[\1]"),
]
_BLOCK = r"(backbone\.(?:stem|branch)\.\d+)\."
_TRANSFORMER = [
    (_BLOCK + r"ln1\.(\w+)", r"\1.norm1.\2"),
    (_BLOCK + r"ln2\.(\w+)", r"\1.norm2.\2"),
    (_BLOCK + r"attn\.(query|key|value)_conv\.conv\.(\w+)", r"\1.attention.convs.\2.\3"),
    (_BLOCK + r"attn\.(query|key|value)_norm\.(\w+)", r"\1.attention.norms.\2.\3"),
    (_BLOCK + r"attn\.(query|key|value)\.(\w+)", r"\1.attention.projections.\2.\3"),
    (_BLOCK + r"attn\.proj\.(\w+)", r"\1.attention.output.\2"),
    (_BLOCK + r"attn\.rel_pe", r"\1.attention.bias.weight"),
    (_BLOCK + r"drop_path_attn\.scale", r"\1.path1.scale"),
    (_BLOCK + r"drop_path_mlp\.scale", r"\1.path2.scale"),
    (_BLOCK + r"mlp\.(\d+)\.(\w+)", r"\1.mlp.\2.\3"),
]
_CONVOLUTIONAL = [
    (_BLOCK + r"ln\.(\w+)", r"\1.norm.\2"),
    (_BLOCK + r"gn\.(\w+)", r"\1.group_norm.norm.\2"),
    (_BLOCK + r"fc\.(\w+)", r"\1.instant.\2"),
    (_BLOCK + r"drop_path_out\.scale", r"\1.path1.scale"),
    (_BLOCK + r"drop_path_mlp\.scale", r"\1.path2.scale"),
    (_BLOCK + r"downsample\.1\.(\w+)", r"\1.downsampling.projection.\2"),
    (_BLOCK + r"mlp\.(\d+)\.(\w+)", r"\1.mlp.\2.\3"),
    *_tower("start_head", "start_head"),
    (r"start_head\.cls_head\.conv\.(\w+)", r"start_head.output.\1"),
    *_tower("end_head", "end_head"),
    (r"end_head\.cls_head\.conv\.(\w+)", r"end_head.output.\1"),
]
_SGP = [
    *_CONVOLUTIONAL,
    (_BLOCK + r"global_fc\.(\w+)", r"\1.instant_gate.\2"),
    (_BLOCK + r"psi\.(\w+)", r"\1.window_gate.\2"),
    (_BLOCK + r"convw\.(\w+)", r"\1.narrow.\2"),
    (_BLOCK + r"convkw\.(\w+)", r"\1.wide.\2"),
]
_GMG = [
    *_CONVOLUTIONAL,
    (_BLOCK + r"convw\.(\w+)", r"\1.local.\2"),
    (_BLOCK + r"([wb][12])", r"\1.mixer.\2"),
    (r"decls\.contrans\.(\w+)", r"class_decoupling.moves.coarser.\1"),
    (r"decls\.conv_l\.(\w+)", r"class_decoupling.own.coarser.\1"),
    (r"decls\.attn\.\d+\.(\w+)", r"class_decoupling.weighing.coarser.\1"),
    (r"dereg\.down\.(\w+)", r"offset_decoupling.moves.finer.\1"),
    (r"dereg\.conv_l\.(\w+)", r"offset_decoupling.own.finer.\1"),
    (r"dereg\.attn\.\d+\.(\w+)", r"offset_decoupling.weighing.finer.\1"),
    (r"cross_level\.convtrans\.(\w+)", r"fusion.coarser.\1"),
    (r"cross_level\.conv\.(\w+)", r"fusion.finer.\1"),
    *_tower("refineHead", "refine_head"),
    (r"refineHead\.s_offset_head\.conv\.(\w+)", r"refine_head.start.\1"),
    (r"refineHead\.e_offset_head\.conv\.(\w+)", r"refine_head.end.\1"),
    (r"refineHead\.prob_head\.conv\.(\w+)", r"refine_head.confidence.\1"),
]
_RULES = {
    "actionformer": [*_COMMON, *_TRANSFORMER],
    # the released neck holds one norm under every level's name
    "temporalmaxer": [(r"neck\.fpn_norms\.\d+\.(\w+)", r"neck.norms.0.\1"), *_COMMON],
    "tridet": [*_COMMON, *_SGP],
    "cltdr": [*_COMMON, *_GMG],
}
# Tables that are computed here, and parameters that the released code declares and never uses.
_UNUSED = re.compile(
    r"point_generator\..*|backbone\.pos_embd|.*\.num_batches_tracked|refineHead\.scale\.\d+\.scale"
)


@dataclass(frozen=True)
class Place:
    """Where a released parameter lives here: the whole of ``name``, or its element ``index``."""

    name: str
    index: int | None = None


def locate(system: str, name: str) -> Place | None:
    """Place of a released parameter; None for one that has no effect.

    Raises
    ------
    CheckpointError
        The system's released code has no such parameter.
    """
    if _UNUSED.fullmatch(name):
        return None
    for pattern, replacement in _RULES[system]:
        match = re.fullmatch(pattern, name)
        if match:
            target = match.expand(replacement)
            element = re.fullmatch(r"(.*)\[(\d+)\]", target)
            return Place(element[1], int(element[2])) if element else Place(target)
    raise CheckpointError(
        f"{name!r} is not a parameter of {system}'s released code: is this a checkpoint of another system?"
    )


def to_state(system: str, weights: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released weights as a state for a decoder whose state is ``like``.

    Shapes differ by axes of length 1 only. Entries of ``like`` that training makes (the loss normaliser,
    which the released code does not save) are kept.

    Raises
    ------
    CheckpointError
        Something is missing, left over or of another size; the message names it.
    """
    state = {name: value.clone() for name, value in like.items()}
    missing = {name for name in like if name != "loss_normaliser"}
    for name, value in weights.items():
        place = locate(system, name)
        if place is None:
            continue
        if place.name not in state:
            raise CheckpointError(
                f"{name!r} has no place in this configuration of {system} (there is no {place.name!r}): "
                "is the configuration that of the checkpoint?"
            )
        target = state[place.name]
        part = target if place.index is None else target[place.index : place.index + 1]
        if part.numel() != value.numel() or [n for n in part.shape if n > 1] != [
            n for n in value.shape if n > 1
        ]:
            raise CheckpointError(
                f"{name!r} is {list(value.shape)}, this configuration of {system} needs {list(part.shape)}"
            )
        with torch.no_grad():
            part.copy_(value.reshape(part.shape))
        missing.discard(place.name)
    if missing:
        shown = ", ".join(sorted(missing)[:5])
        raise CheckpointError(f"the checkpoint lacks {len(missing)} parameters of {system}, such as {shown}")
    return state
