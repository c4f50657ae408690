"""Stored rows against the videos that they stand for: do they end where the video ends?

Feature files do not say at what stride, window and rate they were made, nor which axis is time. Whoever gets
one of these wrong has rows that end somewhere else than the video does; nothing else tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from featstore import FeatureSpec
from tal.grid import FeatureGrid

# Feature files often end a window short, or are padded by one; annotated durations are rounded.
_SLACK_WINDOWS, _SLACK_S, _SLACK_SHARE, _MOST_SHARE = 2, 1.0, 0.02, 0.6
# Rows that end this share of the video's duration before or after its end were made otherwise than is said.
_WRONG_SHARE = 0.1
# Files of which more than this share are too long are no accident of single files.
_ACCIDENTS = 0.05
_RATES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 12.5, 15, 16, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 120)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class VideoRows:
    """Rows of one video as they are said to be, and how long the video is.

    Attributes
    ----------
    num_rows, channels
        of its array [num_rows, channels].
    fps, stride, window
        row g covers frames [g * stride, g * stride + window) at ``fps`` frames a second.
    duration_s
        of the video.
    """

    video_id: str
    num_rows: int
    channels: int
    fps: float
    stride: int
    window: int
    duration_s: float

    @classmethod
    def of(cls, video_id: str, num_rows: int, fps: float, spec: FeatureSpec, duration_s: float) -> VideoRows:
        """Rows of a video of a store with this spec."""
        stride, window = spec.frame_stride, spec.row_window_frames
        return cls(video_id, num_rows, spec.channels, fps, stride, window, duration_s)

    @property
    def end_s(self) -> float:
        """Where the last row's frames end."""
        grid = FeatureGrid(self.fps, self.stride, self.window)
        return float(grid.to_seconds(self.num_rows - 1.0)) + 0.5 * self.window / self.fps

    @property
    def fits(self) -> bool:
        """Whether the rows end where the video does, as exactly as feature files do."""
        window_s = (self.stride + self.window) / self.fps
        # of a video of a few windows two would be most of it
        windows_s = min(_SLACK_WINDOWS * window_s, _MOST_SHARE * self.duration_s)
        slack_s = max(_SLACK_S, window_s, windows_s, _SLACK_SHARE * self.duration_s)
        return abs(self.end_s - self.duration_s) <= slack_s

    @property
    def wrong(self) -> bool:
        """Whether they end so far off that layout, stride, window or rate cannot be right."""
        return not self.fits and abs(self.end_s - self.duration_s) > _WRONG_SHARE * self.duration_s

    @property
    def too_long(self) -> bool:
        return self.wrong and self.end_s > self.duration_s

    def __str__(self) -> str:
        return f"rows end at {self.end_s:.2f} s in a video of {self.duration_s:.2f} s"

    @property
    def made(self) -> str:
        """How the rows are said to have been made."""
        return (
            f"[{self.num_rows} rows, {self.channels} channels], stride {self.stride}, window {self.window}, "
            f"{self.fps:g} frames a second"
        )


@dataclass(frozen=True)
class RowFit:
    """How the rows of a data set fit its videos; ``error`` and ``warning`` are empty where they do.

    Attributes
    ----------
    wrong, slight
        videos whose rows end far from, or not quite at, the video's end.
    error
        why layout, stride, window or rate cannot be right.
    warning
        what is off in single videos.
    hint
        what would fit; empty: nothing that comes to mind.
    """

    wrong: tuple[VideoRows, ...] = ()
    slight: tuple[VideoRows, ...] = ()
    error: str = ""
    warning: str = ""
    hint: str = ""


def check_rows(videos: Sequence[VideoRows], layout: str = "") -> RowFit:
    """Compare rows and videos.

    Parameters
    ----------
    videos
        those whose duration is known.
    layout
        "tc" or "ct", as the files were read; empty: not known any more.
    """
    wrong = tuple(v for v in videos if v.wrong)
    slight = tuple(v for v in videos if not v.fits and not v.wrong)
    if not wrong and not slight:
        return RowFit()
    hint = _hint(videos, layout) if wrong else ""
    said = f", layout {layout}" if layout else ""
    first = max(wrong or slight, key=lambda v: abs(v.end_s / v.duration_s - 1))
    of_all = f"{len(wrong) or len(slight)} of {len(videos)} videos: "
    others = sorted((v.video_id for v in (wrong or slight) if v is not first), key=str)[: _SHOWN - 1]
    named = ", ".join(map(repr, (first.video_id, *others)))
    text = f"{of_all}{first} ({named}; {first.made}{said})" + (f"; {hint}" if hint else "")
    off = median(v.end_s / v.duration_s for v in videos)
    too_long = sum(v.too_long for v in wrong)
    if wrong and (abs(off - 1) > _WRONG_SHARE or too_long > _ACCIDENTS * len(videos)):
        return RowFit(wrong, slight, error=text, hint=hint)
    return RowFit(wrong, slight, warning=text, hint=hint)


def _hint(videos: Sequence[VideoRows], layout: str) -> str:
    """Which one other layout, stride, rate or number of rows would make the rows fit."""
    found = []
    if _would_fit(videos, lambda v: replace(v, num_rows=v.channels, channels=v.num_rows)):
        other = {"tc": "--layout ct", "ct": "--layout tc"}.get(layout, "the other --layout")
        found.append(f"with the axes swapped ({other}) they would fit")
    stride = max(1, round(median(v.duration_s * v.fps / v.num_rows for v in videos)))
    if stride != videos[0].stride:
        narrow = all(v.window == v.stride for v in videos)

        def strided(v: VideoRows) -> VideoRows:
            return replace(v, stride=stride, window=stride if narrow else v.window)

        if _would_fit(videos, strided):
            found.append(f"a stride of {stride} would fit")
    counts = {v.num_rows for v in videos}
    if len(videos) > 1 and len(counts) == 1 and len({round(v.duration_s, 1) for v in videos}) > 1:
        found.append(
            f"every file has {counts.pop()} rows: are they resampled to a fixed number? then they need "
            "--rows and --annotations with durations"
        )
    if len({v.fps for v in videos}) == 1:
        rate = median(v.fps * v.end_s / v.duration_s for v in videos)
        usual = min(_RATES, key=lambda r: abs(r / rate - 1))
        if abs(usual / rate - 1) < _SLACK_SHARE and _would_fit(videos, lambda v: replace(v, fps=usual)):
            found.append(f"{usual:g} frames a second would fit")
    return "; ".join(found)


def _would_fit(videos: Sequence[VideoRows], change: Callable[[VideoRows], VideoRows]) -> bool:
    return sum(change(v).fits for v in videos) >= 0.9 * len(videos)
