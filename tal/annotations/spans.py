"""Stretches of time [start_s, end_s): put together, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[float, float]
# Stretches count as covered when no more than this is left: players round times to pictures.
SLACK_S = 0.1


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Stretches of time as sorted ones that neither overlap nor touch; empty ones fall away."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def subtract(span: Span, taken: Sequence[Span]) -> list[Span]:
    """What of ``span`` lies outside ``taken``, which is sorted and without overlap."""
    left = []
    start, end = span
    for a, b in taken:
        if b <= start:
            continue
        if a >= end:
            break
        if a > start:
            left.append((start, a))
        start = b
    if start < end:
        left.append((start, end))
    return left


def total_s(spans: Iterable[Span]) -> float:
    """Seconds in all, of stretches without overlap."""
    return sum(end - start for start, end in spans)


def covers(taken: Sequence[Span], span: Span) -> bool:
    """Whether ``span`` lies in ``taken`` but for `SLACK_S`."""
    return total_s(subtract(span, taken)) <= SLACK_S


def holds(taken: Sequence[Span], time_s: float) -> bool:
    """Whether a moment lies in one of the stretches."""
    return any(start <= time_s < end for start, end in taken)


def trim(span: Span, taken: Sequence[Span]) -> Span:
    """``span`` without what is taken of its two ends; what is taken in its middle stays in."""
    left = subtract(span, taken)
    return (left[0][0], left[-1][1]) if left else (span[0], span[0])
