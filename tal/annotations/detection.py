"""One detection, as the formats see it."""

from __future__ import annotations

from typing import NamedTuple


class Detection(NamedTuple):
    """A found action: which video, from when to when in seconds, what, and how sure."""

    video_id: str
    start_s: float
    end_s: float
    label: str
    score: float

    @property
    def milliseconds(self) -> tuple[int, int]:
        """(start, end) for formats that count milliseconds; not before 0, and at least one long."""
        start = max(0, round(self.start_s * 1000))
        return start, max(start + 1, round(self.end_s * 1000))
