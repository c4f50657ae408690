"""What the shapes of a TALLFormer checkpoint tell about the localizer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tal.errors import CheckpointError


@dataclass(frozen=True)
class Sizes:
    """A checkpoint's sizes.

    Attributes
    ----------
    localizer
        keys of a localizer's configuration as far as shapes tell them, a tree.
    channels, classes
        of a row, and actions (without background).
    levels
        of the decoder's pyramid.
    positions
        length that the consistency module was trained on; 0: the checkpoint has none.
    """

    localizer: dict[str, Any]
    channels: int
    classes: int
    levels: int
    positions: int


def infer_sizes(state: Mapping[str, Tensor]) -> Sizes:
    """Sizes of a localizer's state (`to_localizer`).

    Not told: heads and reach of the pyramid's attention, the length of anchors, regression ranges, how fine
    AFSD's boundary features are, nor anything about losses and post-processing.

    Raises
    ------
    CheckpointError
        a part is missing or has another number of axes, or the outputs of the heads contradict each other or
        are none.
    """
    try:
        return _infer(state)
    except KeyError as error:
        raise CheckpointError(
            f"the checkpoint has nothing for {error.args[0]}: it is not a whole TALLFormer"
        ) from None
    except CheckpointError:  # itself a ValueError
        raise
    except (IndexError, ValueError, ZeroDivisionError):
        raise CheckpointError("a weight of the checkpoint has other axes than TALLFormer's") from None


def _infer(state: Mapping[str, Tensor]) -> Sizes:
    lateral = state["decoder.fpn.lateral.0.conv.weight"]
    width = channels = lateral.shape[1]
    tree: dict[str, Any] = {"downsample": 1, "tcm": {"layers": 0}}
    if convs := _count(state, r"downsampling\.convs\.(\d+)\.weight"):
        width, channels, _ = state["downsampling.convs.0.weight"].shape
        tree |= {"downsample": 2**convs, "width": width}
    positions = 0
    if layers := _count(state, r"tcm\.layers\.(\d+)\..*"):
        rows, heads = state["tcm.layers.0.bias.table"].shape
        hidden, width = state["tcm.layers.0.mlp.fc1.weight"].shape
        positions = (rows + 1) // 2
        tree["width"] = width
        tree["tcm"] = {
            "layers": layers,
            "heads": heads,
            "mlp_ratio": hidden / width,
            "max_positions": positions,
        }
    levels = _count(state, r"decoder\.fpn\.lateral\.(\d+)\..*")
    if "decoder.class_head.weight" in state:
        tree["decoder"], classes = _daotad(state, lateral.shape[0])
        tree["decoder"]["num_levels"] = levels
    else:
        tree["decoder"], classes = _afsd(state, lateral.shape[0], channels, width)
    if classes < 1:
        raise CheckpointError("the heads of the checkpoint have outputs for no class")
    return Sizes(tree, channels, classes, levels, positions)


def _daotad(state: Mapping[str, Tensor], fpn_channels: int) -> tuple[dict[str, Any], int]:
    """Keys of `DaoTADConfig`, and the number of classes."""
    scores, offsets = (state[f"decoder.{head}_head.weight"].shape[0] for head in ("class", "offset"))
    anchors = offsets // 2
    if offsets % 2 or anchors == 0 or scores % anchors:
        raise CheckpointError(
            f"head.retina_cls has {scores} outputs and head.retina_reg {offsets}: they are not those of one "
            "number of anchors"
        )
    attention = "decoder.pyramid.stages.0.merge.weight" in state
    first = state[f"decoder.pyramid.stages.0.{'merge' if attention else 'conv'}.weight"]
    tree = {
        "name": "daotad",
        "pyramid": "attention" if attention else "conv",
        "channels": first.shape[0],
        "fpn_channels": fpn_channels,
        "norm": "sync_batch" if "decoder.fpn.lateral.0.norm.running_mean" in state else "group",
        "head_layers": _count(state, r"decoder\.class_tower\.blocks\.(\d+)\..*"),
        "anchors_per_position": anchors,
    }
    if attention:
        tree["mlp_channels"] = state["decoder.pyramid.stages.0.mlp.0.weight"].shape[0]
    return tree, scores // anchors


def _afsd(state: Mapping[str, Tensor], width: int, rows: int, inputs: int) -> tuple[dict[str, Any], int]:
    """Keys of `AFSDConfig`, and the number of classes.

    ``rows``, ``inputs``: channels of a row and of the decoder's input, either of which the classifier of
    videos may read.
    """
    outputs = state["decoder.confidence.head.weight"].shape[0]
    classifier = state.get("decoder.video.1.weight")
    reads = 0 if classifier is None or classifier.shape[1] == inputs != rows else rows
    tree = {
        "name": "afsd",
        "channels": width,
        "norm": "sync_batch" if "decoder.fpn.lateral.0.norm.running_mean" in state else "group",
        "labels": "segment" if classifier is None else "video",
        "video_channels": reads,
    }
    return tree, (outputs if classifier is None else classifier.shape[0]) - 1


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers the pattern finds; a gap in them shows when the names are compared."""
    return len({match[1] for name in state if (match := re.fullmatch(pattern, name))})
