"""Annotated and real durations that differ by one factor: the annotations count time on another clock.

Frames counted at another rate than the file's, a copy at half speed, milliseconds: every duration is then the
same number of times too long, and so is every segment, which no single video shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

_MIN_VIDEOS = 3
_MOST = 0.9  # of the videos have the factor
_SPREAD = 0.02  # within this share of it
_SAME = 0.03  # a factor this near to 1 is rounding
_USUAL_RATES = (10, 12, 12.5, 15, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 100, 120)
_NEAR = 0.004
_SPEEDS = {0.25: "a quarter of the speed", 0.5: "half speed", 2.0: "double speed", 4.0: "four times speed"}


@dataclass(frozen=True)
class ClockFactor:
    """Annotated seconds for one real second.

    Attributes
    ----------
    factor
        median over the videos.
    videos
        ids of those that have it.
    num_known
        videos whose two durations are known.
    cause
        what makes such a factor, as far as one comes to mind.
    """

    factor: float
    videos: tuple[str, ...]
    num_known: int
    cause: str

    def __str__(self) -> str:
        cause = f", as {self.cause} would make them" if self.cause else ""
        return (
            f"annotated durations are {self.factor:.4g} times the files' in {len(self.videos)} of "
            f"{self.num_known} videos{cause}: the segments are probably on that clock too. "
            f"`longtal annotations convert FILE --out NEW --scale-times {1 / self.factor:.6g}` puts them on "
            "the files'"
        )


def clock_factor(
    durations: Mapping[str, tuple[float, float]], rates: Sequence[float] = ()
) -> ClockFactor | None:
    """The factor that nearly all videos have in common; None where there is none, or it is 1.

    Parameters
    ----------
    durations
        id -> (annotated, real) seconds, both above 0. Three at least have to agree.
    rates
        frames a second of the files.
    """
    if len(durations) < _MIN_VIDEOS:
        return None
    ratios = {video_id: said / real for video_id, (said, real) in durations.items()}
    factor = median(ratios.values())
    if abs(factor - 1) <= _SAME:
        return None
    alike = tuple(k for k, ratio in ratios.items() if abs(ratio / factor - 1) <= _SPREAD)
    if len(alike) < max(_MIN_VIDEOS, _MOST * len(ratios)):
        return None
    return ClockFactor(factor, alike, len(ratios), _cause(factor, rates))


def _cause(factor: float, rates: Sequence[float]) -> str:
    usual_rate = median(rates) if rates else 0.0
    if usual_rate and abs(factor / usual_rate - 1) <= _NEAR:
        return f"numbers of frames (of {usual_rate:.6g} a second)"
    if abs(factor / 1000 - 1) <= _NEAR:
        return "milliseconds"
    for speed, name in _SPEEDS.items():
        if abs(factor / speed - 1) <= _NEAR:
            return f"a copy at {name}"
    counted = usual_rate / factor
    near = min(_USUAL_RATES, key=lambda rate: abs(rate / counted - 1)) if counted else 0.0
    if counted and abs(near / counted - 1) <= _NEAR:
        return f"pictures of {usual_rate:.6g} a second counted at {near:g} a second"
    return ""
