"""``corrections.json`` of ``longtal review`` as a format: its true actions, and annotations as such a file.

What was rejected there is left out and counted. Which stretches were looked at and which were drawn by chance
is nothing that annotations hold: a file that is written says of no stretch that it was looked at.
"""

from __future__ import annotations

from pathlib import Path

from tal.annotations.builder import Builder
from tal.annotations.corrections import (
    Corrections,
    Judgement,
    VideoCorrections,
    is_corrections,
    parse_corrections,
    write_corrections,
)
from tal.annotations.files import load_json
from tal.annotations.formats.base import Format
from tal.annotations.options import ReadOptions
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError


def read_reviewed(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read the actions that a person accepted, corrected or added.

    Raises
    ------
    AnnotationError
        as `tal.annotations.corrections.read_corrections`.
    """
    corrections = parse_corrections(load_json(path), path.name)
    build = Builder(path.name, options)
    for name, video in corrections.videos.items():
        build.video(name, video.subset or options.subset, video.duration_s, video.fps)
        for action in video.actions:
            build.segment(name, action.segment.start_s, action.segment.end_s, action.segment.label)
        if video.rejected:
            build.leave("rejected detections", len(video.rejected))
    return build.build("corrections", corrections.labels)


def write_reviewed(annotations: AnnotationSet, path: Path) -> None:
    """Write annotations as actions that a person added; ``longtal review`` goes on from there.

    Raises
    ------
    AnnotationError
        an action starts before 0.
    """
    videos = {}
    for name, video in annotations.videos.items():
        actions = [s for s in video.all_segments if s.duration_s > 0]
        if early := [s for s in actions if s.start_s < 0]:
            raise AnnotationError(
                f"corrections hold no time before 0: {early[0].label!r} of video {name!r} starts at "
                f"{early[0].start_s} s"
            )
        added = tuple(Judgement(segment, "added") for segment in actions)
        videos[name] = VideoCorrections(name, video.subset, video.duration_s, video.fps, added)
    write_corrections(Corrections(annotations.labels, videos), path)


FORMAT = Format(
    "corrections",
    "corrections.json of longtal review: its true actions",
    read_reviewed,
    write_reviewed,
    detect=lambda content: not content.is_folder and is_corrections(content.json),
    keeps=("subsets", "durations", "frame rates", "videos without a segment", "list of labels"),
)
