"""Which options of the released pyramids are read, which change nothing here, and what is refused by name.

Read options are those that `tal.released.options` maps; docs/decoders.md has the table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tal.errors import CheckpointError

# What trains or loads alone, or bounds what has no bound here (``max_buffer_len_factor``: the longest video).
# The converter says that ``ext_score_file`` is not read.
_WITHOUT_EFFECT: dict[str, frozenset[str]] = {
    "model": frozenset({"max_buffer_len_factor", "fpn_dim"}),
    "train_cfg": frozenset({"clip_grad_l2norm"}),
    "test_cfg": frozenset({"ext_score_file"}),
}
# Values of options that have few, of which these are computed here.
_VALUES: dict[str, dict[str, tuple[Any, ...]]] = {
    "model": {
        "fpn_type": ("identity",),
        "scale_factor": (2,),
        "downsample_type": ("max", "avg"),
        "fpn_norm": ("groupnorm", "layernorm", None),
    },
    "train_cfg": {"center_sample": ("radius", "none")},
    "test_cfg": {"nms_method": ("soft", "hard", "none")},
}


def require_known(system: str, section: str, given: Collection[str], read: Collection[str]) -> None:
    """Raise CheckpointError for options that are neither read nor known to change nothing."""
    known = {*read, *_WITHOUT_EFFECT[section]}
    if unknown := sorted(set(given) - known):
        raise CheckpointError(
            f"{section}.{unknown[0]} is no option of {system}'s release that is known here, and neither is "
            f"what it changes; known are {', '.join(sorted(known))}"
        )


def require_computed(system: str, options: Mapping[str, Any], width: int) -> None:
    """Raise CheckpointError for values that the decoders here do not compute; names the option and both.

    ``width`` is that of the embedding.
    """
    for section, values in _VALUES.items():
        found = options if section == "model" else options[section]
        for key, supported in values.items():
            if key in found and found[key] not in supported:
                raise CheckpointError(
                    f"{section}.{key} {found[key]!r} of {system} is not supported, only "
                    f"{', '.join(map(repr, supported))}"
                )
    neck = options.get("fpn_dim", width)
    if neck != width:
        raise CheckpointError(
            f"model.fpn_dim {neck} is not model.embd_dim {width}: a pyramid of type identity has one width"
        )
