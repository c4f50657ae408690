"""Turns raw rows of any format into a validated AnnotationSet; every reader ends here."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tal.annotations.files import check_name
from tal.annotations.options import ReadOptions
from tal.annotations.types import (
    DUPLICATE_REASON,
    AnnotationSet,
    Exclusion,
    Segment,
    VideoAnnotation,
    drop_duplicates,
    label_order,
)
from tal.errors import AnnotationError

__all__ = ["Builder", "first_ids", "to_seconds"]


_SHOWN = 3  # ids that a message names


def first_ids(ids: Collection[str]) -> str:
    """The first few ids for a message, hostile characters escaped."""
    shown = ", ".join(repr(i if len(i) <= 60 else i[:57] + "…") for i in list(ids)[:_SHOWN])
    return shown + (f", … ({len(ids)} in all)" if len(ids) > _SHOWN else "")


def to_seconds(value: Any, where: str) -> float:
    """A finite number of seconds from a number or its text; also ``HH:MM:SS.ss`` and ``MM:SS.ss``.

    Raises
    ------
    AnnotationError
        the value is not such a number; the message begins with ``where``.
    """
    if isinstance(value, bool) or value is None:
        raise AnnotationError(f"{where}: {value!r} is not a time in seconds")
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        parts = value.split(":") if isinstance(value, str) else []
        try:
            if not 2 <= len(parts) <= 3:
                raise ValueError
            seconds = 0.0
            for part in parts:
                seconds = seconds * 60 + float(part)
        except (ValueError, OverflowError):
            raise AnnotationError(f"{where}: {str(value)[:60]!r} is not a time in seconds") from None
    if not math.isfinite(seconds):
        raise AnnotationError(f"{where}: {value!r} is not a finite time")
    return seconds


@dataclass
class _Video:
    subset: str
    duration_s: float | None
    fps: float | None
    num_frames: int | None
    url: str | None
    segments: list[Segment] = field(default_factory=list)
    ignored: list[Segment] = field(default_factory=list)


class Builder:
    """Collects videos and segments; ``build`` validates, removes duplicates and writes the notes.

    Parameters
    ----------
    source
        file name for messages.
    options
        says whether duplicates stay and which labels are neither action nor background.
    """

    def __init__(self, source: str, options: ReadOptions) -> None:
        self.source = source
        self.keep_duplicates = options.keep_duplicates
        self.ignore_labels = frozenset(options.ignore_labels)
        self.notes: list[str] = []
        self._checked: set[str] = set()  # labels
        self._videos: dict[str, _Video] = {}

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._videos

    def video(
        self,
        video_id: str,
        subset: str = "",
        duration_s: float | None = None,
        fps: float | None = None,
        num_frames: int | None = None,
        url: str | None = None,
    ) -> None:
        """Add a video; one that stands already keeps its segments."""
        if video_id not in self._videos:
            check_name(video_id, f"{self.source}: a video")
            self._videos[video_id] = _Video(subset, duration_s, fps, num_frames, url)

    def segment(
        self,
        video_id: str,
        start: Any,
        end: Any,
        label: Any,
        where: str = "",
        units_s: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Add an instance to a video added before.

        Parameters
        ----------
        start, end
            numbers or their text.
        where
            place in the file, for messages.
        units_s
            how many seconds one unit of ``start`` and of ``end`` is.

        Raises
        ------
        AnnotationError
            a time or the label makes no sense; the message begins with ``where``.
        """
        where = where or f"{self.source}: video {video_id!r}"
        if not isinstance(label, str) or label not in self._checked:
            check_name(label, f"{where}: label")
            self._checked.add(label)
        segment = Segment(to_seconds(start, where) * units_s[0], to_seconds(end, where) * units_s[1], label)
        video = self._videos[video_id]
        (video.ignored if label in self.ignore_labels else video.segments).append(segment)

    def build(self, file_format: str, labels: Collection[str] = ()) -> AnnotationSet:
        """The validated set; ``labels`` fixes names and order where the format lists them.

        Ignored labels are not classes, even where the list has them.
        """
        videos: dict[str, VideoAnnotation] = {}
        excluded: list[Exclusion] = []
        degenerate: list[str] = []
        beyond: list[str] = []
        ignored = 0
        for name, raw in self._videos.items():
            segments, repeats = (raw.segments, []) if self.keep_duplicates else drop_duplicates(raw.segments)
            excluded += [Exclusion(name, DUPLICATE_REASON, s) for s in repeats]
            excluded += [Exclusion(name, "ambiguous", s) for s in raw.ignored]
            ignored += len(raw.ignored)
            empty = tuple(s for s in segments if s.end_s <= s.start_s)
            degenerate += [name] * len(empty)
            if raw.duration_s is not None:
                beyond += [name for s in segments if s.end_s > raw.duration_s + 1.0]
            videos[name] = VideoAnnotation(
                id=name,
                subset=raw.subset,
                segments=tuple(s for s in segments if s.end_s > s.start_s),
                duration_s=raw.duration_s,
                fps=raw.fps,
                num_frames=raw.num_frames,
                url=raw.url,
                degenerate=empty,
                ignored=tuple(raw.ignored),
            )
        notes = list(self.notes)
        if repeats_all := [e.video_id for e in excluded if e.reason.startswith("duplicate")]:
            notes.append(f"{len(repeats_all)} duplicate annotations removed: {first_ids(repeats_all)}")
        if ignored:
            notes.append(f"{ignored} segments of ignored labels {sorted(self.ignore_labels)} set aside")
        if degenerate:
            notes.append(
                f"{len(degenerate)} segments end at or before their start: metrics count them, as the "
                f"official evaluator does, but nothing finds them; not trained on: {first_ids(degenerate)}"
            )
        if beyond:
            notes.append(
                f"{len(beyond)} segments end over 1 s after their video's duration: {first_ids(beyond)}"
            )
        used = label_order(videos.values())
        listed = tuple(name for name in labels if name not in self.ignore_labels)
        order = listed if set(used) <= set(listed) else used
        return AnnotationSet(videos, order, tuple(notes), tuple(excluded), self.source, file_format)
