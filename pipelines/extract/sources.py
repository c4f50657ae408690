"""Which videos an extraction is about, and how machines share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tal.annotations import VIDEO_SUFFIXES, find_video, read_annotations
from tal.errors import VideoError


@dataclass(frozen=True)
class Sources:
    """Video files by id, ids that the annotations name but that have no file, and files that were left
    aside.
    """

    paths: Mapping[str, Path]
    missing: tuple[str, ...] = ()
    doubled: tuple[Path, ...] = field(default=())


def find_sources(videos: Path, annotations: Path | None = None, subset: str | None = None) -> Sources:
    """Videos of a folder (and its sub-folders), or those that an annotation file names.

    Raises
    ------
    VideoError
        no such folder, or nothing to extract in it.
    AnnotationError, EvaluationError
        annotations that cannot be read, or without that subset.
    """
    if not videos.is_dir():
        what = "is no folder" if videos.exists() else "does not exist"
        raise VideoError(f"{videos}: {what}; --videos takes a folder of video files")
    if annotations is None:
        return _all_files(videos)
    named = read_annotations(annotations)
    if subset:
        named = named.subset(subset)
    found = {video_id: find_video(videos, video_id) for video_id in named.videos}
    paths = {k: v for k, v in sorted(found.items()) if v is not None}
    missing = tuple(sorted(k for k, v in found.items() if v is None))
    if not paths:
        first = ", ".join(missing[:3])
        raise VideoError(
            f"{videos}: holds none of the {len(missing)} videos that {annotations} names ({first}, …)"
        )
    return Sources(paths, missing)


def _all_files(videos: Path) -> Sources:
    paths: dict[str, Path] = {}
    doubled: list[Path] = []
    for path in sorted(videos.rglob("*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        # two files of one stem (a.mp4, a.avi): the second keeps its suffix
        video_id = next((n for n in (path.stem, path.name) if n not in paths), None)
        if video_id is None:
            doubled.append(path)
        else:
            paths[video_id] = path
    if not paths:
        raise VideoError(f"{videos}: no video files in it ({', '.join(VIDEO_SUFFIXES)})")
    return Sources(paths, doubled=tuple(doubled))


def share(durations_s: Mapping[str, float], part: int, parts: int) -> list[str]:
    """The videos of one machine: longest first, each to the one with the least so far. The same on every
    machine.
    """
    loads = [0.0] * parts
    mine = []
    for video_id, duration_s in sorted(durations_s.items(), key=lambda kv: (-kv[1], kv[0])):
        least = loads.index(min(loads))
        loads[least] += duration_s
        if least == part:
            mine.append(video_id)
    return sorted(mine)
