"""Parameters that had another name, or shape, in version 0.1: its models and checkpoints still load."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

_GATE = ".window_gate.weight"

# Beginning of a name in a saved state (``encoder.*``, ``localizer.*``) -> what it is today.
_RENAMED = {
    "localizer.neck.": "localizer.downsampling.",
    "localizer.rows.": "localizer.row_classifier.",
}


def with_new_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A saved state with today's names and shapes; one that has them already comes back as it is."""
    renamed = {_new_name(name): value for name, value in weights.items()}
    return {name: _new_shape(name, value, renamed) for name, value in renamed.items()}


def _new_shape(name: str, value: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """TriDet's window gate saw one position; with zeros around it, it is a kernel of the window."""
    narrow = weights.get(f"{name.removesuffix(_GATE)}.narrow.weight") if name.endswith(_GATE) else None
    if narrow is None or narrow.dim() != 3 or value.dim() != 3 or value.shape[2] != 1:
        return value
    return F.pad(value, 2 * [narrow.shape[2] // 2])


def _new_name(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
