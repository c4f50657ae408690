"""What a reader took from a file, and what it left, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Account:
    """Every annotation of a file is in it, once.

    Attributes
    ----------
    taken
        number of annotations that are in the set: instances, those without length, ignored stretches.
    left
        reason -> number of annotations that are not.
    """

    taken: int = 0
    left: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Account) -> Account:
        return Account(self.taken + other.taken, dict(Counter(self.left) + Counter(other.left)))

    @property
    def num_left(self) -> int:
        return sum(self.left.values())

    @property
    def reasons(self) -> str:
        """What was left, for people: ``2 point events, 1 duplicates``."""
        return ", ".join(f"{count} {reason}" for reason, count in self.left.items())

    def to_json(self) -> dict[str, Any]:
        return {"taken": self.taken, "left": dict(self.left)}

    def __str__(self) -> str:
        """For people: ``12 annotations taken, 3 left out: 2 point events, 1 duplicates``."""
        return f"{self.taken} annotations taken, {self.num_left} left out" + (
            f": {self.reasons}" if self.left else ""
        )
