"""A person's corrections laid over the annotations of a run: what is true, and where nobody looked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipelines.data.review_as_annotations import unknown_of_review, unknown_stretches
from tal.annotations import AnnotationSet, Segment, VideoAnnotation
from tal.annotations.corrections import Corrections, VideoCorrections
from tal.annotations.ids import match_ids
from tal.annotations.spans import Span
from tal.annotations.types import drop_duplicates

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


def lay_over(
    whole: AnnotationSet,
    corrections: Corrections,
    subset: str,
    labelled: set[str],
    review: Corrections | None = None,
) -> Corrected:
    """Annotations with a person's corrections.

    Of a video that was reviewed in part, the rest is not known. Where the annotations label a video whole,
    they hold outside the stretches that were reviewed. A class that is new is known where somebody looked for
    it and nowhere else: in the videos in which it was judged.

    Parameters
    ----------
    subset
        that corrected videos are of.
    labelled
        subsets of which the annotations hold every action.
    review
        what the annotations themselves are: an earlier state of the corrections. A video of which both say
        the same stays of its subset; of any other, the corrections alone hold.
    """
    said = {name: video for name, video in corrections.videos.items() if video.says_something}
    matches = match_ids(said, whole.videos)
    said = {matches.pairs.get(name, name): video for name, video in said.items()}
    earlier = review.videos if review is not None else {}
    said = {k: v for k, v in said.items() if k not in earlier or not v.says_the_same(earlier[k])}
    added = tuple(label for label in corrections.labels if label not in whole.labels)
    labels = (*whole.labels, *added)
    videos = dict(whole.videos)
    unknown = unknown_of_review(whole, review) if review is not None else {}
    for name in whole.videos.keys() - said.keys():
        unknown[name] = (*unknown.get(name, ()), *(Segment(0.0, math.inf, label) for label in added))
    moved = 0
    for name, video in said.items():
        base = whole.videos.get(name)
        trusted = base is not None and base.subset in labelled
        moved += base is not None and base.subset != subset
        videos[name] = _corrected(name, base if trusted else None, base, video, subset)
        sure = set(whole.labels) if trusted else set()
        # a file does not say which classes there were when a stretch was looked at: a new one may be younger
        judged = {judgement.segment.label for judgement in (*video.actions, *video.rejected)}
        looked_for = set(corrections.labels) - (set(added) - judged)
        unknown[name] = tuple(unknown_stretches(videos[name], video, labels, looked_for, sure))
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
    segments, _ = drop_duplicates([*actions, *outside])
    known = base or VideoAnnotation(name, subset, ())
    return replace(
        known,
        subset=subset,
        segments=tuple(sorted(segments, key=lambda s: (s.start_s, s.end_s))),
        degenerate=(),
        duration_s=known.duration_s or video.duration_s,
    )


def _overlaps(segment: Segment, spans: Iterable[Span]) -> bool:
    return any(min(segment.end_s, end) - max(segment.start_s, start) > _TOUCH_S for start, end in spans)
