"""One detection, as the formats write it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Detection(NamedTuple):
    """An action in a video: its id, start and end in seconds, the label and the score."""

    video_id: str
    start_s: float
    end_s: float
    label: str
    score: float

    @property
    def milliseconds(self) -> tuple[int, int]:
        """(start, end) for formats that count milliseconds; not before 0, and at least one long."""
        return milliseconds(self.start_s, self.end_s)


def milliseconds(start_s: float, end_s: float) -> tuple[int, int]:
    """(start, end) in whole milliseconds; not before 0, and at least one long."""
    start = max(0, round(start_s * 1000))
    return start, max(start + 1, round(end_s * 1000))


def by_video(detections: Iterable[Detection], videos: Iterable[str]) -> dict[str, list[Detection]]:
    """Detections of each video: first those listed, also without a detection, then any others."""
    found: dict[str, list[Detection]] = {video_id: [] for video_id in videos}
    for detection in detections:
        found.setdefault(detection.video_id, []).append(detection)
    return found
