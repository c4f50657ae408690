"""A person's corrections laid over the annotations of a run: what is true, and where nobody looked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tal.annotations import AnnotationSet, Segment, VideoAnnotation
from tal.annotations.corrections import Corrections, VideoCorrections
from tal.annotations.ids import match_ids
from tal.annotations.spans import Span, subtract, union

# Seconds that a segment and a stretch share where they overlap.
_TOUCH_S = 1e-6


@dataclass(frozen=True)
class Corrected:
    """Annotations with corrections.

    Attributes
    ----------
    whole
        all annotations; corrected videos are of the subset that a run learns from.
    unknown
        id -> stretches in which nobody looked for a class.
    corrected
        ids of the corrected videos.
    notes
        what a user should know of it.
    """

    whole: AnnotationSet
    unknown: Mapping[str, tuple[Segment, ...]]
    corrected: frozenset[str]
    notes: tuple[str, ...]


def lay_over(whole: AnnotationSet, corrections: Corrections, subset: str, labelled: set[str]) -> Corrected:
    """Annotations with a person's corrections.

    Of a video that was reviewed in part, the rest is not known. Where the annotations label a video whole,
    they hold outside the stretches that were reviewed. A class that is new is known where somebody looked for
    it and nowhere else.

    Parameters
    ----------
    subset
        that corrected videos are of.
    labelled
        subsets of which the annotations hold every action.
    """
    said = {name: video for name, video in corrections.videos.items() if _says_something(video)}
    matches = match_ids(said, whole.videos)
    said = {matches.pairs.get(name, name): video for name, video in said.items()}
    added = tuple(label for label in corrections.labels if label not in whole.labels)
    labels = (*whole.labels, *added)
    videos, unknown = dict(whole.videos), dict[str, tuple[Segment, ...]]()
    for name in whole.videos.keys() - said.keys() if added else ():
        unknown[name] = tuple(Segment(0.0, math.inf, label) for label in added)
    moved = 0
    for name, video in said.items():
        base = whole.videos.get(name)
        trusted = base is not None and base.subset in labelled
        moved += base is not None and base.subset != subset
        videos[name] = _corrected(name, base if trusted else None, base, video, subset)
        sure = set(whole.labels) if trusted else set()
        unknown[name] = tuple(_unknown(videos[name], video, labels, set(corrections.labels), sure))
    minutes = sum(video.reviewed_s for video in said.values()) / 60
    notes = [
        f"{len(said)} videos corrected, {minutes:.1f} minutes of them reviewed: "
        f"{sum(len(v.actions) for v in said.values())} actions, "
        f"{sum(len(v.rejected) for v in said.values())} rejections"
    ]
    if moved:
        notes.append(
            f"{moved} corrected videos were of another subset: they are learnt from, not measured on"
        )
    if added:
        notes.append(f"{len(added)} classes are new: {', '.join(map(repr, added))}")
    return Corrected(
        replace(whole, videos=videos, labels=labels),
        {name: stretches for name, stretches in unknown.items() if stretches},
        frozenset(said),
        (*notes, *matches.notes("corrected id")),
    )


def _says_something(video: VideoCorrections) -> bool:
    return bool(video.actions or video.rejected or video.reviewed)


def _corrected(
    name: str,
    trusted: VideoAnnotation | None,
    base: VideoAnnotation | None,
    video: VideoCorrections,
    subset: str,
) -> VideoAnnotation:
    """A video with what was said of it; of a trusted annotation what lies outside the reviewed stretches."""
    actions = tuple(judgement.segment for judgement in video.actions)
    outside = (
        () if trusted is None else tuple(s for s in trusted.segments if not _overlaps(s, video.reviewed))
    )
    kept = tuple(s for s in outside if s not in actions)
    known = base or VideoAnnotation(name, subset, ())
    return replace(
        known,
        subset=subset,
        segments=tuple(sorted((*actions, *kept), key=lambda s: (s.start_s, s.end_s))),
        degenerate=(),
        duration_s=known.duration_s or video.duration_s,
    )


def _overlaps(segment: Segment, spans: Iterable[Span]) -> bool:
    return any(min(segment.end_s, end) - max(segment.start_s, start) > _TOUCH_S for start, end in spans)


def _unknown(
    annotation: VideoAnnotation,
    video: VideoCorrections,
    labels: Iterable[str],
    looked_for: set[str],
    sure: set[str],
) -> Iterable[Segment]:
    """Stretches of each class where nobody looked for it: not reviewed, no action, no rejection of it."""
    for label in labels:
        if label in sure:
            continue
        said = (*annotation.segments, *(judgement.segment for judgement in video.rejected))
        spans = [(s.start_s, s.end_s) for s in said if s.label == label]
        known = union([*spans, *(video.reviewed if label in looked_for else ())])
        yield from (Segment(start, end, label) for start, end in subtract((0.0, math.inf), known))
