"""Options that every reader takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


def _unknown(video_id: str) -> None:
    return None


@dataclass(frozen=True)
class ReadOptions:
    """How to read; a format ignores what does not concern it.

    Attributes
    ----------
    keep_duplicates
        keep annotations that repeat another one of their video within 1e-3 s.
    ignore_labels
        labels that are neither action nor background.
    subset
        name of the subset where the file gives none.
    target
        EPIC-KITCHENS' "verb", "noun" or "action".
    time_stamps
        id -> seconds at which each frame of the video begins, or None where they are not known: for formats
        that count frames and do not say how many a second.
    frame_rate
        frames a second of a timeline whose file does not say it; 0: not known.
    labels
        a file of class names; None: the data set's own, if it lies beside the annotations.
    """

    keep_duplicates: bool = False
    ignore_labels: tuple[str, ...] = ("Ambiguous",)
    subset: str = ""
    target: str = "action"
    labels: Path | None = None
    time_stamps: Callable[[str], Sequence[float] | None] = _unknown
    frame_rate: float = 0.0
