"""Checkpoints of VideoMAE and VideoMAEv2, by the names that `transformers` has for their tensors.

Three namings are known. The original releases': `blocks.0.attn.qkv.weight`, with `q_bias` and `v_bias` apart
and no bias of the key. mmaction's and OpenTAD's: the same behind `backbone.`, but for the patch embedding
(`projection`) and the MLP (`layers.0.0`, `layers.1`). `transformers`': its older files still say `q_bias`,
which its own loader alone renames. Left out is what no row depends on: classifiers, the norm behind the mean
over all tokens, the pretraining's decoder, and position tables, which follow from the size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tal.errors import WeightsError

_BLOCK = re.compile(r"^blocks\.(\d+)\.(.+)$")
_PREFIXES = ("model.backbone.", "backbone.", "videomae.", "model.")
_UNUSED = ("head.", "cls_head.", "classifier.", "fc_norm.", "decoder.", "encoder_to_decoder.")
_UNUSED_WHOLE = ("pos_embed", "mask_token")
# of a block; qkv and the biases of query and value are cut by hand
_IN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "mlp.layers.0.0": "intermediate.dense",
    "mlp.layers.1": "output.dense",
}
_STEM = ("patch_embed.proj.", "patch_embed.projection.")
_OLD_BIAS = {"q_bias": "query.bias", "v_bias": "value.bias"}


def to_transformers(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors of an encoder under the names of `transformers.VideoMAEModel`.

    Raises
    ------
    WeightsError
        a key has a bias, which the network cannot have; lists names that have no place.
    """
    bare = {name: _bare(name) for name in state}
    if not any(_BLOCK.match(short.removeprefix("encoder.")) for short in bare.values()):
        return {_current(n): state[k] for k, n in bare.items() if not _is_unused(n)}
    converted: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, value in state.items():
        short = bare[name].removeprefix("encoder.")  # the pretraining's encoder stands beside its decoder
        if _is_unused(short):
            continue
        found = _converted(short, value, source)
        if found is None:
            unknown.append(name)
        else:
            converted.update(found)
    if unknown:
        listed = ", ".join(unknown[:8]) + (", …" if len(unknown) > 8 else "")
        raise WeightsError(f"{source}: {len(unknown)} tensors have no place in a VideoMAE: {listed}")
    return converted


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _is_unused(name: str) -> bool:
    return name.startswith(_UNUSED) or name in _UNUSED_WHOLE


def _current(name: str) -> str:
    """A name of `transformers`' older files as it is today."""
    head, _, last = name.rpartition(".")
    return f"{head}.{_OLD_BIAS[last]}" if last in _OLD_BIAS else name


def _converted(name: str, value: Tensor, source: str) -> dict[str, Tensor] | None:
    """One tensor of the original or mmaction's naming; None: there is no place for it."""
    for prefix in _STEM:
        if name.startswith(prefix):
            return {f"embeddings.patch_embeddings.projection.{name.removeprefix(prefix)}": value}
    if name.startswith("norm."):
        return {f"layernorm.{name.removeprefix('norm.')}": value}
    if not (block := _BLOCK.match(name)):
        return None
    index, rest = block.groups()
    layer = f"encoder.layer.{index}."
    attention = f"{layer}attention.attention."
    if rest in ("attn.q_bias", "attn.v_bias"):
        return {attention + _OLD_BIAS[rest.removeprefix("attn.")]: value}
    if rest == "attn.qkv.weight":
        return {f"{attention}{k}.weight": v for k, v in _cut(value).items()}
    if rest == "attn.qkv.bias":
        return {f"{attention}{k}.bias": v for k, v in _without_key_bias(_cut(value), name, source).items()}
    where, _, what = rest.rpartition(".")
    return {f"{layer}{_IN_BLOCK[where]}.{what}": value} if where in _IN_BLOCK else None


def _cut(fused: Tensor) -> dict[str, Tensor]:
    """[3 C, ...] -> query, key, value of [C, ...] each."""
    return dict(zip(("query", "key", "value"), fused.chunk(3), strict=True))


def _without_key_bias(parts: dict[str, Tensor], name: str, source: str) -> dict[str, Tensor]:
    if torch.count_nonzero(parts.pop("key")):
        raise WeightsError(f"{source}: {name} gives keys a bias, which VideoMAE's attention does not have")
    return parts
