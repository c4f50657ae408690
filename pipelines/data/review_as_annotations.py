"""``corrections.json`` as a run's annotations: nothing is known of time that nobody looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from tal.annotations import AnnotationSet, Segment, VideoAnnotation
from tal.annotations.builder import first_ids
from tal.annotations.corrections import Corrections, VideoCorrections, read_corrections
from tal.annotations.formats import reviewed
from tal.annotations.spans import covers, subtract, union
from tal.errors import AnnotationError


def read_review(path: Path, annotations: AnnotationSet) -> Corrections | None:
    """What a review says beside the actions that were read from its file; None for any other annotations.

    Raises
    ------
    AnnotationError
        no stretch of any video is marked as looked at, so that it is nowhere known that nothing happens.
    """
    if annotations.format != reviewed.FORMAT.name:
        return None
    review = read_corrections(path)
    if not any(video.reviewed for video in review.videos.values()):
        raise AnnotationError(
            f"{path}: no stretch of a video is marked as looked at, so nothing says where no action is: mark "
            "in `longtal review` what you have seen, m for a whole video, M up to here; or, where the file "
            f"has every action of its videos, `longtal annotations convert {path} --out labels.json` makes "
            "annotations that say so"
        )
    return review


def without_unseen(annotations: AnnotationSet, review: Corrections) -> tuple[AnnotationSet, list[str]]:
    """The videos that somebody said something of, and a note on the others and on what was seen."""
    unseen = [name for name in annotations.videos if not review.videos[name].says_something]
    kept = annotations.without(unseen, "nobody looked at it")
    minutes = sum(review.videos[name].reviewed_s for name in kept.videos) / 60
    notes = [
        f"{annotations.source}: {minutes:.1f} minutes of {len(kept)} videos are marked as looked at; of the "
        "rest of them nothing is learnt but their actions"
    ]
    if unseen:
        notes.append(f"{len(unseen)} videos that nobody looked at are left out: {first_ids(unseen)}")
    return kept, notes


def is_whole(video: VideoCorrections, duration_s: float | None) -> bool:
    """Whether all of a video was looked at; one of unknown length was not."""
    return duration_s is not None and covers(video.reviewed, (0.0, duration_s))


def reviewed_in_part(held_out: AnnotationSet, review: Corrections) -> list[str]:
    """A note on held-out videos of which a part was not looked at."""
    part = [k for k, v in held_out.videos.items() if not is_whole(review.videos[k], v.duration_s)]
    if not part:
        return []
    return [
        f"{len(part)} of {len(held_out)} held-out videos were not looked at in full ({first_ids(part)}): "
        "what is found elsewhere in them counts as false"
    ]


def unknown_of_review(annotations: AnnotationSet, review: Corrections) -> dict[str, tuple[Segment, ...]]:
    """Id -> stretches in which nobody looked for a class, of each video that has any."""
    unknown = {
        name: tuple(
            unknown_stretches(video, review.videos[name], annotations.labels, set(review.labels), set())
        )
        for name, video in annotations.videos.items()
    }
    return {name: stretches for name, stretches in unknown.items() if stretches}


def unknown_stretches(
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
