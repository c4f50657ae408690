"""What every reader may be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReadOptions:
    """How to read; a format ignores what does not concern it.

    ``subset`` names the subset of files that do not say it; ``target`` is EPIC-KITCHENS' verb, noun or
    action; ``labels`` is a file of class names (default: the data set's own, if it lies beside the
    annotations);
    ``info`` is a table of videos (``video_info_new.csv``) that fills in subset, duration and rate.
    """

    keep_duplicates: bool = False
    ignore_labels: tuple[str, ...] = ("Ambiguous",)
    subset: str = ""
    target: str = "action"
    labels: Path | None = None
    info: Path | None = None
