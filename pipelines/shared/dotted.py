"""Trees of settings by dotted key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def leaves(
    tree: Mapping[str, Any], prefix: str = "", whole: Collection[str] = ()
) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all that is no section; ``{"a": {"b": 1}}`` -> ``("a.b", 1)``.

    Empty sections, and those of the keys in ``whole``, are values themselves. ``prefix`` ends with its dot.
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and f"{prefix}{key}" not in whole:
            yield from leaves(value, f"{prefix}{key}.", whole)
        else:
            yield f"{prefix}{key}", value
