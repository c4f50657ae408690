"""The configuration of a checkpoint, as far as the shapes of its tensors tell it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from tal.errors import CheckpointError


def infer_config(system: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Released model options that can be read off the shapes; the others stay at the released defaults.

    The shapes do not tell ActionFormer's number of heads and window, the training length, position codes,
    regression ranges other than doubling, nor anything about losses and post-processing.
    """
    try:
        return _infer(system, weights)
    except KeyError as error:
        raise CheckpointError(
            f"the checkpoint has no {error.args[0]!r}: it is not a checkpoint of {system}"
        ) from error


def _infer(system: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    embedding = weights["backbone.embd.0.conv.weight"]
    output = weights["cls_head.cls_head.conv.weight"]
    levels = _count(weights, r"reg_head\.scale\.(\d+)\.scale")
    stem = _count(weights, r"backbone\.stem\.(\d+)\..*")
    branch = _count(weights, r"backbone\.branch\.(\d+)\..*")
    depth = branch if system != "temporalmaxer" else levels - 1
    embed_layers = _count(weights, r"backbone\.embd\.(\d+)\..*")
    projections = _count(weights, r"backbone\.proj\.(\d+)\..*")
    inputs: Any = embedding.shape[1]
    width: Any = embedding.shape[0]
    if projections:
        parts = [weights[f"backbone.proj.{i}.conv.weight"] for i in range(projections)]
        inputs, width = [part.shape[1] for part in parts], [part.shape[0] for part in parts]
    options: dict[str, Any] = {
        "input_dim": inputs,
        "num_classes": output.shape[0],
        "max_seq_len": 2304,
        "backbone_arch": (embed_layers, stem, depth) if system != "temporalmaxer" else (embed_layers, depth),
        "fpn_start_level": depth + 1 - levels,
        "embd_dim": width,
        "embd_kernel_size": embedding.shape[2],
        "embd_with_ln": "backbone.embd_norm.0.weight" in weights,
        "head_dim": output.shape[1],
        "head_kernel_size": output.shape[2],
        "head_num_layers": _count(weights, r"cls_head\.head\.(\d+)\..*") + 1,
        "head_with_ln": "cls_head.norm.0.weight" in weights,
        "regression_range": _doubling(depth + 1 - levels, levels),
    }
    if system == "temporalmaxer":
        options["fpn_norm"] = "layernorm" if "neck.fpn_norms.0.weight" in weights else "groupnorm"
    else:
        options["fpn_with_ln"] = "neck.fpn_norms.0.weight" in weights
        scaled = any(name.endswith("drop_path_mlp.scale") for name in weights)
        options["train_cfg"] = {"droppath": 0.1 if scaled else 0.0}
    if system in ("tridet", "cltdr"):
        options.update(_convolutional(system, weights, branch))
    return options


def _convolutional(system: str, weights: Mapping[str, Tensor], branch: int) -> dict[str, Any]:
    windows = [weights[f"backbone.branch.{i}.convw.weight"].shape[2] for i in range(branch)]
    bins = weights["reg_head.offset_head.conv.weight"].shape[0]
    trident = "start_head.cls_head.conv.weight" in weights
    options: dict[str, Any] = {
        "n_sgp_win_size": (windows[0], *windows) if windows else 1,
        "sgp_mlp_dim": weights["backbone.branch.0.mlp.0.weight"].shape[0],
        "use_trident_head": trident,
        "num_bins": bins // 2 - 1 if trident else 16,
        "downsample_type": "avg" if "backbone.branch.0.downsample.1.weight" in weights else "max",
    }
    if trident:
        options["boudary_kernel_size"] = weights["start_head.cls_head.conv.weight"].shape[2]
    if system == "tridet":
        kernels = [weights[f"backbone.branch.{i}.convkw.weight"].shape[2] for i in range(branch)]
        options["k"] = _scale(windows, kernels)
    return options


def _scale(windows: Sequence[int], kernels: Sequence[int]) -> float:
    """A k for which round((w + 1) k), made odd, is the wide kernel of every level: any of them will do.

    Raises
    ------
    CheckpointError
        there is none.
    """
    # an odd kernel n comes of n and of n - 1, so of (w + 1) k from n - 1.5 to n + 0.5
    low = max((n - 1.5) / (w + 1) for w, n in zip(windows, kernels, strict=True))
    high = min((n + 0.5) / (w + 1) for w, n in zip(windows, kernels, strict=True))
    if low >= high:
        raise CheckpointError(f"no k gives wide kernels {list(kernels)} of windows {list(windows)}")
    return (low + high) / 2


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    numbers = [int(match[1]) for name in weights if (match := re.fullmatch(pattern, name))]
    return max(numbers, default=-1) + 1


def _doubling(first: int, levels: int) -> tuple[tuple[int, int], ...]:
    edges = [0, *(4 * 2 ** (first + level) for level in range(levels))]
    edges[-1] = 10000
    return tuple(pairwise(edges))
