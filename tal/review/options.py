"""How stretches to review are cut and chosen."""

from __future__ import annotations

from dataclasses import dataclass

from tal.errors import ConfigError


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """Lengths in seconds, and how often chance chooses.

    Attributes
    ----------
    context_s
        shown before and after a doubtful detection.
    stretch_s
        longest random or empty stretch; videos are cut into equal ones of at most this length.
    empty_s
        a stretch without detections is an item from this length on.
    random_every
        every so-many-th item is random.
    """

    context_s: float = 2.0
    stretch_s: float = 30.0
    empty_s: float = 30.0
    random_every: int = 5

    def __post_init__(self) -> None:
        if self.context_s < 0:
            raise ConfigError(f"context_s is 0 or more seconds, not {self.context_s:g}")
        for name in ("stretch_s", "empty_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is more than 0 seconds, not {getattr(self, name):g}")
        if self.random_every < 1:
            raise ConfigError(f"random_every counts items from 1, not {self.random_every}")
