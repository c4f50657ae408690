"""Turns raw rows of any format into a validated AnnotationSet; every reader ends here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tal.annotations.account import Account
from tal.annotations.files import check_name
from tal.annotations.labels import clean_label, says_nothing_happens
from tal.annotations.options import ReadOptions
from tal.annotations.times import to_seconds
from tal.annotations.types import (
    DUPLICATE_REASON,
    AnnotationSet,
    Exclusion,
    Segment,
    VideoAnnotation,
    drop_duplicates,
    label_order,
)
from tal.annotations.units import Reach, likely_unit
from tal.errors import AnnotationError

DUPLICATE = "duplicates"


_SHOWN = 3  # ids that a message names


def first_ids(ids: Collection[str]) -> str:
    """The first few ids for a message, hostile characters escaped."""
    shown = ", ".join(repr(i if len(i) <= 60 else i[:57] + "…") for i in list(ids)[:_SHOWN])
    return shown + (f", … ({len(ids)} in all)" if len(ids) > _SHOWN else "")


@dataclass
class _Video:
    subset: str = ""
    duration_s: float | None = None
    fps: float | None = None
    num_frames: int | None = None
    url: str | None = None
    segments: list[Segment] = field(default_factory=list)
    ignored: list[Segment] = field(default_factory=list)


class Builder:
    """Collects videos and segments; ``build`` validates, removes duplicates and writes the notes.

    A reader gives each annotation of its file to `segment` or, with the reason, to `leave`: so what is not
    taken is counted, whatever the format.

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
        self.ignore_labels = frozenset(map(clean_label, options.ignore_labels))
        self.notes: list[str] = []
        self._left: Counter[str] = Counter()
        self._cleaned: dict[str, str] = {}  # label as written -> as taken
        self._changed: Counter[str] = Counter()  # labels that cleaning changed
        self._unknown: dict[str, None] = {}  # videos with a duration, rate or number of frames of 0 or less
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
        """Add a video, or say more of one that stands already; its segments stay.

        Raises
        ------
        AnnotationError
            the name cannot be one, or another line says otherwise of the video.
        """
        facts: dict[str, Any] = {
            "subset": subset,
            "duration_s": duration_s,
            "fps": fps,
            "num_frames": num_frames,
            "url": url,
        }
        if video_id not in self._videos:
            check_name(video_id, f"{self.source}: a video")
            self._videos[video_id] = _Video()
        video = self._videos[video_id]
        for name in ("duration_s", "fps", "num_frames"):
            if facts[name] is not None and facts[name] <= 0:
                self._unknown.setdefault(video_id)
                facts[name] = None
        for name, value in facts.items():
            if value is None or value == "" or value == (before := getattr(video, name)):
                continue
            if before not in (None, ""):
                raise AnnotationError(
                    f"{self.source}: video {video_id!r} has two values of {name.removesuffix('_s')}: "
                    f"{before!r} and {value!r}"
                )
            if isinstance(value, str):
                check_name(value, f"{self.source}: video {video_id!r}: {name}")
            setattr(video, name, value)

    def leave(self, reason: str, count: int = 1) -> None:
        """Count annotations that cannot be taken; ``reason`` says what they are: "point events"."""
        self._left[reason] += count

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
        label = self._clean(label, where)
        segment = Segment(to_seconds(start, where) * units_s[0], to_seconds(end, where) * units_s[1], label)
        video = self._videos[video_id]
        (video.ignored if label in self.ignore_labels else video.segments).append(segment)

    def _clean(self, label: Any, where: str) -> str:
        if not isinstance(label, str) or label not in self._cleaned:
            check_name(label, f"{where}: label")
            clean = clean_label(label)
            check_name(clean, f"{where}: label")
            self._cleaned[label] = clean
        if self._cleaned[label] != label:
            self._changed[label] += 1
        return self._cleaned[label]

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
        if self._changed:
            notes.append(
                f"{self._changed.total()} labels with blanks around them, or not in composed Unicode (NFC), "
                f"taken without: {first_ids(self._changed)}"
            )
        if self._unknown:
            notes.append(
                f"{len(self._unknown)} videos have a duration, frame rate or number of frames of 0 or less, "
                f"taken as not known: {first_ids(self._unknown)}"
            )
        if self._left:
            left_out = Account(left=self._left)
            notes.append(f"{left_out.num_left} annotations left out: {left_out.reasons}")
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
        reaches = (Reach(v.last_end_s, v.duration_s or 0.0, v.fps) for v in videos.values())
        if unit := likely_unit(reaches):
            notes.append(f"the times of {self.source} look like {unit}")
        if nothing := [label for label in label_order(videos.values()) if says_nothing_happens(label)]:
            notes.append(
                f"label {nothing[0]!r:.60} seems to say that nothing happens: it is learnt and measured as a "
                "class; leave out its annotations, since what is not annotated is background"
            )
        used = label_order(videos.values())
        cleaned = dict.fromkeys(map(clean_label, labels))
        listed = tuple(name for name in cleaned if name not in self.ignore_labels)
        order = listed if set(used) <= set(listed) else used
        left = self._left + Counter({DUPLICATE: len(repeats_all)})
        account = Account(sum(len(v.all_segments) for v in videos.values()), dict(left))
        return AnnotationSet(videos, order, tuple(notes), tuple(excluded), self.source, file_format, account)
