"""One change of a video's corrections: what it takes away and what it puts there. Turned round, it is undone.

As JSON it is ``{"minus": part, "plus": part}``, each part with some of a document's keys: single
``annotations`` and ``rejected`` detections, and ``reviewed`` as a whole, before and after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tal.annotations.corrections import (
    VERSION,
    Corrections,
    Judgement,
    VideoCorrections,
    corrections_json,
    parse_corrections,
)
from tal.annotations.spans import Span
from tal.errors import AnnotationError, LongtalError

STEPS = ("do", "undo", "redo")
_PARTS = ("annotations", "rejected", "reviewed")
_MOST_SEGMENTS = 20_000
_MOST_TIME_CHARACTERS = 40
# A segment may end so much behind the video: durations of annotation files are rounded.
_SLACK_S = 1.0


class ChangeError(LongtalError, ValueError):
    """A change that was sent does not fit its schema, or the document that it is made in."""


@dataclass(frozen=True, slots=True)
class Part:
    """Judgements of a change, and all stretches that were looked at; None: it leaves those as they are."""

    actions: tuple[Judgement, ...] = ()
    rejected: tuple[Judgement, ...] = ()
    reviewed: tuple[Span, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """As a request and the history have it; what is empty is left out."""
        whole = VideoCorrections(
            "", actions=self.actions, rejected=self.rejected, reviewed=self.reviewed or ()
        )
        entry = corrections_json(Corrections((), {"": whole}))["database"][""]
        return {
            key: entry[key]
            for key in _PARTS
            if entry[key] or (key == "reviewed" and self.reviewed is not None)
        }


@dataclass(frozen=True, slots=True)
class Change:
    """``minus`` goes, ``plus`` comes."""

    minus: Part
    plus: Part

    @classmethod
    def from_json(cls, content: Any) -> Change:
        """A change of a request or of the history; its keys are ``minus`` and ``plus``.

        Raises
        ------
        ChangeError
            it does not fit the schema.
        """
        if not isinstance(content, dict) or set(content) != {"minus", "plus"}:
            raise ChangeError("a change is {minus, plus}")
        minus, plus = _part(content["minus"]), _part(content["plus"])
        if (minus.reviewed is None) != (plus.reviewed is None):
            raise ChangeError("stretches that were looked at are told before and after, or not at all")
        return cls(minus, plus)

    def to_json(self) -> dict[str, Any]:
        return {"minus": self.minus.to_json(), "plus": self.plus.to_json()}

    @property
    def turned(self) -> Change:
        """What undoes it."""
        return Change(self.plus, self.minus)

    def made_in(self, video: VideoCorrections) -> VideoCorrections:
        """The corrections after the change, actions and rejected ones by time.

        Raises
        ------
        ChangeError
            something that it takes away is not there.
        """
        if self.minus.reviewed is not None and self.minus.reviewed != video.reviewed:
            raise ChangeError("the stretches that were looked at are others by now")
        return replace(
            video,
            actions=_replaced(video.actions, self.minus.actions, self.plus.actions),
            rejected=_replaced(video.rejected, self.minus.rejected, self.plus.rejected),
            reviewed=video.reviewed if self.plus.reviewed is None else self.plus.reviewed,
        )


def check_change(change: Change, after: VideoCorrections, labels: Collection[str], last_end_s: float) -> None:
    """Refuse what a change must not bring: other classes, times behind the video, too many segments.

    Parameters
    ----------
    after
        the corrections with the change.
    labels
        classes of the review.
    last_end_s
        where the last of what was known before the review ends, seconds.

    Raises
    ------
    ChangeError
        naming what does not fit.
    """
    if max(len(after.actions) + len(after.rejected), len(after.reviewed)) > _MOST_SEGMENTS:
        raise ChangeError(f"a video holds at most {_MOST_SEGMENTS} segments")
    ends = [end for _, end in change.plus.reviewed or ()]
    for judgement in (*change.plus.actions, *change.plus.rejected):
        both = [judgement.segment, *([judgement.original] if judgement.original else [])]
        for segment in both:
            if segment.label not in labels:
                raise ChangeError(f"the class {segment.label[:60]!r} is not one of this review")
        if len(judgement.time) > _MOST_TIME_CHARACTERS:
            raise ChangeError(f"{judgement.time[:60]!r} is not a time")
        ends.append(judgement.segment.end_s)
    last = max([*ends, 0.0])
    if after.duration_s is not None and last > max(after.duration_s + _SLACK_S, last_end_s):
        raise ChangeError(f"a segment ends at {last:g} s, the video at {after.duration_s:g} s")


def _part(entry: Any) -> Part:
    if not isinstance(entry, dict) or set(entry) - set(_PARTS):
        raise ChangeError(f"a part of a change has the keys {', '.join(_PARTS)} and no others")
    content = {"version": VERSION, "taxonomy": [], "database": {"change": entry}}
    try:
        parsed = parse_corrections(content, "the change").videos["change"]
    except AnnotationError as error:
        raise ChangeError(str(error)) from error
    return Part(parsed.actions, parsed.rejected, parsed.reviewed if "reviewed" in entry else None)


def _replaced(
    items: Iterable[Judgement], minus: Iterable[Judgement], plus: Iterable[Judgement]
) -> tuple[Judgement, ...]:
    gone: dict[float, list[Judgement]] = {}  # by start: to compare with few
    for item in minus:
        gone.setdefault(item.segment.start_s, []).append(item)
    rest = [item for item in items if not _taken(item, gone)]
    if left := [item for waiting in gone.values() for item in waiting]:
        label, (start, end) = left[0].segment.label, (left[0].segment.start_s, left[0].segment.end_s)
        raise ChangeError(f"{label[:60]!r}, {start:g} to {end:g} s: it is not there to take away")
    rest.extend(plus)
    return tuple(sorted(rest, key=lambda item: (item.segment.start_s, item.segment.end_s)))


def _taken(item: Judgement, gone: Mapping[float, list[Judgement]]) -> bool:
    waiting = gone.get(item.segment.start_s)
    if not waiting or item not in waiting:
        return False
    waiting.remove(item)
    return True
