"""What the data are like: how long videos and actions are, how many, at what rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.data.videos import ANNOTATED, open_videos, pair_with_files
from tal.annotations import AnnotationSet
from tal.errors import AnnotationError
from tal.video import VideoInfo


@dataclass(frozen=True)
class Survey:
    """Statistics of the videos that can be used. Ids are the annotations'.

    Attributes
    ----------
    annotations
        of the usable videos only.
    infos, paths
        the usable videos, and their files.
    missing
        annotated videos without a file.
    broken
        files that cannot be decoded: id -> reason.
    notes
        ids that the annotations write otherwise than the files.
    """

    annotations: AnnotationSet
    infos: dict[str, VideoInfo]
    missing: list[str]
    broken: dict[str, str]
    paths: Mapping[str, Path]
    notes: tuple[str, ...] = ()

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """Seconds of each video, float64 [N]."""
        return np.array([info.duration_s for info in self.infos.values()])

    @property
    def video_fps(self) -> NDArray[np.float64]:
        """Pictures a second of each video, float64 [N]."""
        return np.array([info.fps for info in self.infos.values()])

    @property
    def short_sides(self) -> NDArray[np.int64]:
        """Pixels of each video's shorter side, int64 [N]."""
        return np.array([min(info.width, info.height) for info in self.infos.values()])

    @property
    def action_s(self) -> NDArray[np.float64]:
        """Seconds of each action, float64 [A]."""
        return np.array([s.duration_s for v in self.annotations.videos.values() for s in v.segments])

    @property
    def class_counts(self) -> dict[str, int]:
        """Label -> number of actions, in the order of the labels."""
        counts = dict.fromkeys(self.annotations.labels, 0)
        for video in self.annotations.videos.values():
            for segment in video.segments:
                counts[segment.label] += 1
        return counts


def survey(annotations: AnnotationSet, videos_dir: Path, reader: str) -> Survey:
    """Open every annotated video with ``reader``.

    Raises
    ------
    VideoError
        when there is no such folder.
    ConfigError
        when the reader is not installed.
    AnnotationError
        when no annotated video can be used, or none of them has an action.
    """
    if not len(annotations):
        raise AnnotationError(f"{annotations.source}: names no video, so there is nothing to learn from")
    sources = pair_with_files(videos_dir, annotations)
    paths = sources.by_annotation
    infos, broken = open_videos(paths, reader, title="looking at the videos")
    if not infos:
        shown = f"no file is called like {sources.first_missing} (with .mp4, .mkv, .avi …)"
        cause = next(iter(broken.values()), shown)
        raise AnnotationError(
            f"none of the {len(annotations)} annotated videos can be used from {videos_dir}: {cause}"
        )
    usable = annotations.without([*sources.missing, *broken], "no usable file")
    if not any(video.segments for video in usable.videos.values()):
        raise AnnotationError(
            f"{annotations.source}: no action is annotated in the {len(infos)} videos of {videos_dir}"
        )
    unlike = [f"{name}{sources.why_missing(name)}" for name in sources.unlike]
    notes = (*sources.matches.notes(ANNOTATED), *unlike)
    return Survey(usable, infos, list(sources.missing), broken, {k: paths[k] for k in infos}, notes)
