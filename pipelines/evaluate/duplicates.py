"""Which of two rules an mAP follows: annotations that are there twice are counted once, or as they are.

ActionFormer's and OpenTAD's evaluators remove them before they measure, the official ActivityNet server does
not. On ActivityNet-1.3's validation subset, which has 19, the AP of a class differs by up to 0.086.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tal.annotations.types import DUPLICATE_REASON, AnnotationSet, drop_duplicates


@dataclass(frozen=True)
class Duplicates:
    """How many annotations repeat another, and whether they are counted."""

    count: int
    kept: bool

    @classmethod
    def of(cls, annotations: AnnotationSet) -> Duplicates:
        """Those of a set of annotations, removed when it was read or still in it."""
        there = sum(len(drop_duplicates(v.counted)[1]) for v in annotations.videos.values())
        if there:
            return cls(there, True)
        removed = (e for e in annotations.excluded if e.reason == DUPLICATE_REASON)
        return cls(sum(e.video_id in annotations.videos for e in removed), False)

    @property
    def rule(self) -> str:
        """The line that says which number this is, and how to get the other."""
        if not self.count:
            return "no annotation is there twice: the official evaluator, ActionFormer and OpenTAD agree"
        what = f"{self.count} duplicate annotation{'s' if self.count > 1 else ''}"
        if self.kept:
            return (
                f"{what} counted: the official evaluator's number; ActionFormer and OpenTAD remove them, as "
                "`longtal evaluate` does without --keep-duplicates"
            )
        return (
            f"{what} removed: ActionFormer's and OpenTAD's number; the official evaluator counts them, as "
            "`longtal evaluate --keep-duplicates` does"
        )

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "kept": self.kept, "rule": self.rule}
