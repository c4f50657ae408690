"""Random stretches of known probability.

Every video is cut into equal stretches, and each stretch has a permanent random number, made of the seed, the
video and its place (Ohlsson 1995). Those of smallest number are drawn first: a simple random sample without
replacement that grows from one sitting to the next, depends neither on what was predicted nor on what was
reviewed, and is the same whenever it is asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tal.annotations.corrections import Sample
from tal.annotations.spans import SLACK_S, Span, subtract, total_s


def stretches(duration_s: float, stretch_s: float) -> list[Span]:
    """A video in equal stretches of at most ``stretch_s``."""
    number = max(1, math.ceil(duration_s / stretch_s - 1e-9))
    return list(pairwise([*(duration_s * k / number for k in range(number)), duration_s]))


def draws(
    durations: Mapping[str, float], stretch_s: float, seed: int, drawn: Mapping[str, Sequence[Sample]]
) -> Iterator[tuple[str, Sample]]:
    """(video, stretch) in random order, without those that overlap ``drawn``.

    ``probability`` is that of one draw: one by the number of stretches. The chance of being among n draws is
    n times that; in an estimate of a ratio n cancels, so that sittings of different lengths weigh alike.
    """
    frame = [
        (_number(seed, video, place), video, span)
        for video, duration_s in durations.items()
        for place, span in enumerate(stretches(duration_s, stretch_s))
    ]
    for _, video, (start_s, end_s) in sorted(frame):
        before = sorted((s.start_s, s.end_s) for s in drawn.get(video, ()))
        if end_s - start_s - total_s(subtract((start_s, end_s), before)) <= SLACK_S:
            yield video, Sample(start_s, end_s, 1 / len(frame))


def _number(seed: int, video: str, place: int) -> bytes:
    """The permanent random number, to be compared."""
    return hashlib.blake2b(f"{seed}\n{place}\n{video}".encode(), digest_size=16).digest()
