"""``corrections.json``: what a person said of a model's detections, and of which stretches.

The form is ActivityNet's, and ``annotations`` holds true actions alone, so that any plain reader gets what is
true. Beside them lie ``rejected`` detections, the stretches that were ``reviewed`` whole, and those that were
``sampled`` by chance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal.annotations.files import check_name, load_json
from tal.annotations.formats.activitynet import taxonomy, taxonomy_labels
from tal.annotations.labels import clean_label
from tal.annotations.spans import Span, total_s, union
from tal.annotations.times import to_rate, to_seconds
from tal.annotations.types import AnnotationSet, Segment, VideoAnnotation
from tal.errors import AnnotationError
from tal.shared.files import write_text

VERSION = "longtal corrections 1"
# How an action came to stand: as the model found it, changed by hand, or new.
SOURCES = ("accepted", "corrected", "added")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of one segment.

    Attributes
    ----------
    segment
        as it stands after the judgement.
    source
        one of `SOURCES`; "" of a rejected detection.
    score
        of the detection; None where there was none.
    time
        when it was said, ISO 8601; "" where that is not known.
    original
        the detection before it was corrected.
    """

    segment: Segment
    source: str = ""
    score: float | None = None
    time: str = ""
    original: Segment | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A stretch of a video that was drawn by chance, and how probable that was."""

    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True)
class VideoCorrections:
    """What was said of one video; ``reviewed`` are sorted stretches without overlap, in seconds."""

    id: str
    subset: str = ""
    duration_s: float | None = None
    fps: float | None = None
    actions: tuple[Judgement, ...] = ()
    rejected: tuple[Judgement, ...] = ()
    reviewed: tuple[Span, ...] = ()
    sampled: tuple[Sample, ...] = ()

    @property
    def reviewed_s(self) -> float:
        """Seconds that were looked at."""
        return total_s(self.reviewed)

    @property
    def says_something(self) -> bool:
        """Whether anybody judged a segment or looked at a stretch of it (that one was drawn says nothing)."""
        return bool(self.actions or self.rejected or self.reviewed)

    def says_the_same(self, other: VideoCorrections) -> bool:
        """Whether actions, rejections and reviewed stretches are those of ``other``."""
        return _said(self) == _said(other)


def _said(video: VideoCorrections) -> tuple[object, ...]:
    judged = [frozenset(j.segment for j in part) for part in (video.actions, video.rejected)]
    return (*judged, video.reviewed)


@dataclass(frozen=True, slots=True)
class Corrections:
    """Videos by id, and the labels in a fixed order."""

    labels: tuple[str, ...]
    videos: Mapping[str, VideoCorrections]

    def annotations(self) -> AnnotationSet:
        """The true actions alone, as any reader of ActivityNet's form has them."""
        videos = {
            v.id: VideoAnnotation(
                v.id, v.subset, tuple(a.segment for a in v.actions), duration_s=v.duration_s, fps=v.fps
            )
            for v in self.videos.values()
        }
        return AnnotationSet(videos, self.labels)


def is_corrections(content: Any) -> bool:
    """Whether parsed JSON says of itself that it holds corrections."""
    return isinstance(content, dict) and str(content.get("version", "")).startswith("longtal corrections")


def read_corrections(path: str | Path) -> Corrections:
    """Read ``corrections.json``.

    Raises
    ------
    AnnotationError
        naming the video and what is wrong with it, or that the file holds something else.
    """
    path = Path(path)
    return parse_corrections(load_json(path), path.name)


def parse_corrections(content: Any, source: str) -> Corrections:
    """The parsed JSON -> corrections; ``source`` names it in messages.

    Raises
    ------
    AnnotationError
        as `read_corrections`.
    """
    if not is_corrections(content):
        raise AnnotationError(
            f"{source}: no corrections: `longtal review` writes files whose 'version' is {VERSION!r}"
        )
    if content["version"] != VERSION:
        raise AnnotationError(
            f"{source}: version {content['version']!r:.80}; this longtal reads {VERSION!r}: update longtal"
        )
    database = content.get("database")
    if not isinstance(database, dict) or not all(isinstance(v, dict) for v in database.values()):
        raise AnnotationError(f"{source}: 'database' must be an object with an object for each video")
    videos = {name: _video(name, entry, source) for name, entry in database.items()}
    listed = [_label(name, f"{source}: taxonomy") for name in taxonomy_labels(content.get("taxonomy"))]
    used = {j.segment.label for v in videos.values() for j in (*v.actions, *v.rejected)}
    return Corrections(tuple(dict.fromkeys([*listed, *sorted(used)])), videos)


def _video(name: str, entry: Mapping[str, Any], source: str) -> VideoCorrections:
    check_name(name, f"{source}: a video")
    where = f"{source}: video {name!r:.80}"
    duration, fps = entry.get("duration"), entry.get("fps")
    actions, rejected, reviewed, sampled = (
        _list(entry, key, where) for key in ("annotations", "rejected", "reviewed", "sampled")
    )
    return VideoCorrections(
        id=name,
        subset=str(entry.get("subset") or ""),
        duration_s=None if duration is None else to_seconds(duration, f"{where}: duration"),
        fps=None if fps is None else to_rate(fps, f"{where}: fps"),
        actions=tuple(_judgement(item, f"{where}: annotation", true=True) for item in actions),
        rejected=tuple(_judgement(item, f"{where}: rejected", true=False) for item in rejected),
        reviewed=union(_span(item, f"{where}: reviewed") for item in reviewed),
        sampled=tuple(_sample(item, f"{where}: sampled") for item in sampled),
    )


def _list(entry: Mapping[str, Any], key: str, where: str) -> Sequence[Any]:
    items = entry.get(key, [])
    if not isinstance(items, list):
        raise AnnotationError(f"{where}: {key!r} is {str(items)[:60]!r}, not a list")
    return items


def _object(item: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise AnnotationError(f"{where}: {str(item)[:60]!r} is not an object")
    return item


def _span(value: Any, where: str) -> Span:
    if not isinstance(value, list) or len(value) != 2:
        raise AnnotationError(f"{where}: a stretch is [start, end] in seconds, not {str(value)[:60]!r}")
    start, end = (to_seconds(v, where) for v in value)
    if not 0 <= start < end:
        raise AnnotationError(
            f"{where}: [{start:g}, {end:g}] does not end after its start, or begins before 0"
        )
    return start, end


def _label(label: Any, where: str) -> str:
    check_name(label, f"{where}: label")
    check_name(clean := clean_label(label), f"{where}: label")
    return clean


def _segment(item: Mapping[str, Any], where: str) -> Segment:
    return Segment(*_span(item.get("segment"), where), _label(item.get("label"), where))


def _judgement(item: Any, where: str, *, true: bool) -> Judgement:
    item = _object(item, where)
    source, original = item.get("source", SOURCES[-1] if true else ""), item.get("original")
    if true and source not in SOURCES:
        raise AnnotationError(f"{where}: source {source!r:.60} is none of {', '.join(SOURCES)}")
    return Judgement(
        _segment(item, where),
        source if true else "",
        None if item.get("score") is None else _number(item["score"], f"{where}: score"),
        str(item.get("time") or ""),
        None if original is None else _segment(_object(original, where), f"{where}: original"),
    )


def _sample(item: Any, where: str) -> Sample:
    item = _object(item, where)
    probability = _number(item.get("probability"), f"{where}: probability")
    if not 0 < probability <= 1:
        raise AnnotationError(f"{where}: a probability of {probability:g}; it lies above 0 and is at most 1")
    return Sample(*_span(item.get("segment"), where), probability)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise AnnotationError(f"{where}: {str(value)[:60]!r} is not a number")
    return float(value)


def write_corrections(corrections: Corrections, path: str | Path) -> None:
    """Write ``corrections.json``, whole or not at all; times keep every digit.

    Raises
    ------
    OutputError
        the file cannot be written.
    """
    write_text(Path(path), json.dumps(corrections_json(corrections), indent=1, ensure_ascii=False))


def corrections_json(corrections: Corrections) -> dict[str, Any]:
    """What `parse_corrections` reads."""
    return {
        "version": VERSION,
        "taxonomy": taxonomy(corrections.labels),
        "database": {name: _entry(video) for name, video in corrections.videos.items()},
    }


def _entry(video: VideoCorrections) -> dict[str, Any]:
    facts = {"duration": video.duration_s, "fps": video.fps}
    return {
        "subset": video.subset,
        **{key: value for key, value in facts.items() if value is not None},
        "annotations": [_judged(j) for j in video.actions],
        "rejected": [_judged(j) for j in video.rejected],
        "reviewed": [list(span) for span in video.reviewed],
        "sampled": [{"segment": [s.start_s, s.end_s], "probability": s.probability} for s in video.sampled],
    }


def _judged(judgement: Judgement) -> dict[str, Any]:
    values = {
        "source": judgement.source or None,
        "score": judgement.score,
        "time": judgement.time or None,
        "original": None if judgement.original is None else _plain(judgement.original),
    }
    return _plain(judgement.segment) | {key: value for key, value in values.items() if value is not None}


def _plain(segment: Segment) -> dict[str, Any]:
    return {"label": segment.label, "segment": [segment.start_s, segment.end_s]}
