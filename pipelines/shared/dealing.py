"""Work of known sizes dealt out in parts that are about as large as each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def deal(
    sizes: Mapping[str, float], parts: int, allowed: Mapping[str, Sequence[int]] | None = None
) -> dict[str, int]:
    """Which of ``parts`` has each: the largest goes first, to the part with the least so far.

    Of equal sizes the first in ``sizes`` goes first: what does so in the same order everywhere comes to the
    same result everywhere.

    Parameters
    ----------
    allowed
        parts that can take each; None: all can.
    """
    loads = [0.0] * parts
    owner: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        able = range(parts) if allowed is None else allowed[name]
        owner[name] = min(able, key=loads.__getitem__)
        loads[owner[name]] += sizes[name]
    return owner
