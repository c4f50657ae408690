"""Annotation files: read several as one set, write in a format, rename subsets, count by subset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tal.annotations import AnnotationSet, read_annotations, write_annotations
from tal.annotations.corrections import Corrections, VideoCorrections
from tal.annotations.formats.registry import JUDGED, default_format, detect_format, find_format
from tal.annotations.read import merge, with_info
from tal.annotations.types import Segment
from tal.errors import AnnotationError


def load_many(
    paths: Sequence[Path],
    file_format: str = "auto",
    subsets: Sequence[str] = (),
    target: str = "action",
    labels: Path | None = None,
    info: Path | None = None,
    keep_duplicates: bool = False,
    ignore_labels: Sequence[str] = ("Ambiguous",),
    frame_rate: float = 0.0,
) -> AnnotationSet:
    """Read one file or several as one set.

    Parameters
    ----------
    subsets
        subset of the files that do not name one: none, one for all, or one per file.
    file_format, target, labels, info, keep_duplicates, ignore_labels, frame_rate
        as in `read_annotations`.

    Raises
    ------
    AnnotationError
        a file cannot be read, a video is in two of them, or there are more or fewer subsets than files.
    """
    if len(subsets) not in (0, 1, len(paths)):
        raise AnnotationError(f"{len(subsets)} subsets for {len(paths)} files: give one, or one per file")
    names = list(subsets) * len(paths) if len(subsets) == 1 else list(subsets) or [""] * len(paths)
    parts = [
        read_annotations(
            path,
            file_format,
            keep_duplicates=keep_duplicates,
            ignore_labels=ignore_labels,
            subset=name,
            target=target,
            labels=labels,
            frame_rate=frame_rate,
        )
        for path, name in zip(paths, names, strict=True)
    ]
    whole = parts[0] if len(parts) == 1 else merge(parts)
    return with_info(whole, info) if info is not None else whole


def load_judgements(
    paths: Sequence[Path], annotations: AnnotationSet, file_format: str = "auto"
) -> Corrections | None:
    """What a person said of detections in files that became ``annotations``, under their subsets and lengths.

    None where one of the files has no place for it.

    Raises
    ------
    AnnotationError
        a file cannot be read.
    """
    videos: dict[str, VideoCorrections] = {}
    for path in paths:
        chosen = detect_format(path) if file_format == "auto" else find_format(file_format)
        if chosen.name not in JUDGED:
            return None
        videos |= JUDGED[chosen.name](path).videos
    known = {
        name: replace(videos[name], subset=v.subset, duration_s=v.duration_s, fps=v.fps)
        for name, v in annotations.videos.items()
        if name in videos
    }
    rejected = {j.segment.label for v in known.values() for j in v.rejected}
    return Corrections((*annotations.labels, *sorted(rejected - {*annotations.labels})), known)


def told_of(judgements: Corrections, annotations: AnnotationSet) -> str:
    """What of the judgements is kept, and which annotations are no judgement."""
    videos = judgements.videos.values()
    actions, rejected = sum(len(v.actions) for v in videos), sum(len(v.rejected) for v in videos)
    unjudged = sum(len(v.all_segments) for v in annotations.videos.values()) - actions
    left = f"; {unjudged} that nobody judged, or without length, are left out" if unjudged > 0 else ""
    return f"{actions} actions and {rejected} rejections keep what was said of them{left}"


def save(
    annotations: AnnotationSet, out: Path, file_format: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Write the set; the format is given, or follows from the suffix (a folder: THUMOS14).

    Returns
    -------
    name, losses
        the format's name, and a line for each kind of content that the format cannot hold.

    Raises
    ------
    AnnotationError
        there is no such format, or it cannot hold a name that occurs.
    """
    name = file_format or default_format(out).name
    write_annotations(annotations, out, name)
    return name, find_format(name).losses(annotations)


def scaled_times(annotations: AnnotationSet, factor: float) -> AnnotationSet:
    """Every time and duration multiplied: annotations that were made on another clock than the videos'.

    Raises
    ------
    AnnotationError
        the factor is not a number above 0.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise AnnotationError(f"--scale-times {factor}: give a number above 0")

    def scaled(segments: Iterable[Segment]) -> tuple[Segment, ...]:
        return tuple(replace(s, start_s=s.start_s * factor, end_s=s.end_s * factor) for s in segments)

    videos = {
        name: replace(
            video,
            duration_s=None if video.duration_s is None else video.duration_s * factor,
            segments=scaled(video.segments),
            degenerate=scaled(video.degenerate),
            ignored=scaled(video.ignored),
        )
        for name, video in annotations.videos.items()
    }
    return replace(annotations, videos=videos)


def rename_subsets(annotations: AnnotationSet, names: Sequence[str]) -> AnnotationSet:
    """Rename subsets by ``old=new``.

    Raises
    ------
    AnnotationError
        a name is not of that form, or there is no such subset; lists those that exist.
    """
    mapping = {}
    for item in names:
        old, sign, new = item.partition("=")
        if not sign or old not in annotations.subsets:
            listing = ", ".join(map(repr, annotations.subsets))
            raise AnnotationError(f"--rename-subset {item!r}: give OLD=NEW; there are {listing}")
        mapping[old] = new
    videos = {k: replace(v, subset=mapping.get(v.subset, v.subset)) for k, v in annotations.videos.items()}
    return replace(annotations, videos=videos)


def overview(annotations: AnnotationSet) -> pd.DataFrame:
    """One row per subset: videos, instances, labels, hours."""
    rows = []
    for name in annotations.subsets:
        part = [v for v in annotations.videos.values() if v.subset == name]
        hours = sum(v.duration_s or 0.0 for v in part) / 3600
        rows.append(
            {
                "subset": name or "(none)",
                "videos": len(part),
                "without instances": sum(not v.counted for v in part),
                "instances": sum(len(v.counted) for v in part),
                "labels": len({s.label for v in part for s in v.counted}),
                "hours": f"{hours:.1f}" if hours else "unknown",
            }
        )
    return pd.DataFrame(rows)
