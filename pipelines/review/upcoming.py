"""What to look at next, for the page: the order of `longtal review --next`, while its server runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.review.next import NextOptions, known_lines, look_on
from pipelines.review.run import Review
from pipelines.review.state import ReviewState
from tal.annotations.corrections import Corrections, corrections_json


class Upcoming:
    """Chooses the next stretches whenever a page has gone through the last ones.

    Parameters
    ----------
    source
        what is reviewed, whose thresholds count where ``options`` names none.
    collect
        gives the review with all detections, also those that the page does not hold; called when needed.
    """

    def __init__(self, source: Path | None, options: NextOptions, collect: Callable[[], Review]) -> None:
        self._source, self._options, self._collect = source, options, collect
        self._review: Review | None = None
        self._lock = threading.Lock()  # of two pages that ask at once, the second knows what the first drew

    def look(self, state: ReviewState) -> dict[str, Any]:
        """The next stretches, what is known so far, and all drawn stretches of videos that got some.

        Raises
        ------
        LongtalError
            as `look_on`.
        """
        with self._lock:
            self._review = self._review or self._collect()
            sitting = look_on(self._source, self._review, state, self._options)
        numbers = {video.id: number for number, video in enumerate(self._review.videos)}
        drawn = {key: state.document(key).video for key in sitting.queue.drawn}
        entries = corrections_json(Corrections((), drawn))["database"]
        return {
            "items": [{**item.to_json(), "video": numbers[item.video_id]} for item in sitting.queue.items],
            "sampled": {numbers[key]: entry["sampled"] for key, entry in entries.items()},
            "known": list(known_lines(sitting.estimate)),
            "notes": list(sitting.notes),
        }
