"""Parameters that had another name in version 0.1: its models and checkpoints still load."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# Beginning of a name in a saved state (``encoder.*``, ``localizer.*``) -> what it is today.
_RENAMED = {
    "localizer.neck.": "localizer.downsampling.",
    "localizer.rows.": "localizer.row_classifier.",
}


def with_new_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A saved state with today's names; a state that has them already comes back as it is."""
    return {_new_name(name): value for name, value in weights.items()}


def _new_name(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
