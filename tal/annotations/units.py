"""Times that are not in seconds, told by where they end in videos whose duration is known.

Nothing is converted: what is said is a guess, and a wrong one would be silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

_MIN_VIDEOS = 3
_SLACK, _SLACK_S = 1.1, 1.0  # times may end this much after their video
_LONG_S = 5.0  # shares are told from seconds where videos are much longer than one
_MOST = 0.95
_PARTS_OF_A_SECOND = ((1e3, "milliseconds"), (1e6, "microseconds"), (1e7, "steps of 100 ns"))
_RATES = (5, 10, 12, 15, 20, 24, 25, 30, 50, 60)  # frames a second that videos and features have


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the last time of a video stands, in the unit of its file; the video's duration and rate."""

    end: float
    duration_s: float
    fps: float | None = None

    @property
    def ratio(self) -> float:
        return self.end / self.duration_s

    def fits(self, units_per_s: float) -> bool:
        """Whether the video would hold the time if there were so many units a second."""
        return self.end / units_per_s <= self.duration_s * _SLACK + _SLACK_S


def likely_unit(reaches: Iterable[Reach]) -> str:
    """What the times of a file are where they cannot be seconds, and what to do; "" where they can be.

    Three videos at least, of known duration, have to say so.
    """
    known = [r for r in reaches if r.duration_s > 0 and r.end > 0]
    if len(known) < _MIN_VIDEOS:
        return ""
    if all(r.end <= 1 for r in known):
        long = sum(r.duration_s >= _LONG_S for r in known)
        return "shares of the video's duration: multiply them by it" if long >= _MOST * len(known) else ""
    if sum(r.fits(1.0) for r in known) > len(known) / 2:
        return ""
    if _fit(known, 60) and all(r.end % 60 == 0 for r in known):
        return "minutes and seconds that were read as hours and minutes: divide them by 60"
    if all(r.fps for r in known):
        if sum(r.fits(r.fps or 1.0) for r in known) >= _MOST * len(known):
            return "numbers of frames: divide them by the frame rates of their videos"
    elif rate := next((rate for rate in _RATES if _fit(known, rate)), None):
        return (
            f"numbers of frames (at {rate} a second or more): divide them by the frame rates of their videos"
        )
    for units, name in _PARTS_OF_A_SECOND:
        if _fit(known, units) and max(r.ratio for r in known) > units / 10:
            return f"{name}: divide them by {units:.0f}"
    ratio = median(r.ratio for r in known)
    return f"another unit than seconds: they end at {ratio:.3g} times the durations" if ratio > 2 else ""


def _fit(reaches: Sequence[Reach], units_per_s: float) -> bool:
    """Whether nearly all videos would hold their times."""
    return sum(r.fits(units_per_s) for r in reaches) >= _MOST * len(reaches)
