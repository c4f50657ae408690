"""Options that every reader takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    labels
        a file of class names; None: the data set's own, if it lies beside the annotations.
    """

    keep_duplicates: bool = False
    ignore_labels: tuple[str, ...] = ("Ambiguous",)
    subset: str = ""
    target: str = "action"
    labels: Path | None = None
