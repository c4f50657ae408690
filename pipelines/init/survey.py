"""What the data are like: how long videos and actions are, how many, at what rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines import console
from tal.annotations import AnnotationSet, find_video
from tal.errors import AnnotationError, VideoError
from tal.video import VideoInfo, open_video


@dataclass(frozen=True)
class Survey:
    """Statistics of the videos that can be used; times in seconds, one entry a video or an action.

    ``missing`` are annotated videos without a file, ``broken`` files that cannot be decoded (id -> reason).
    """

    annotations: AnnotationSet  # the usable videos only
    infos: dict[str, VideoInfo]
    missing: list[str]
    broken: dict[str, str]

    @property
    def durations_s(self) -> NDArray[np.float64]:
        return np.array([info.duration_s for info in self.infos.values()])

    @property
    def video_fps(self) -> NDArray[np.float64]:
        return np.array([info.fps for info in self.infos.values()])

    @property
    def short_sides(self) -> NDArray[np.int64]:
        return np.array([min(info.width, info.height) for info in self.infos.values()])

    @property
    def action_s(self) -> NDArray[np.float64]:
        """Lengths of all actions."""
        return np.array([s.duration_s for v in self.annotations.videos.values() for s in v.segments])

    @property
    def class_counts(self) -> dict[str, int]:
        """Label -> number of actions, in the order of the labels."""
        counts = dict.fromkeys(self.annotations.labels, 0)
        for video in self.annotations.videos.values():
            for segment in video.segments:
                counts[segment.label] += 1
        return counts


def survey(annotations: AnnotationSet, videos_dir: Path) -> Survey:
    """Open every annotated video.

    Raises
    ------
    AnnotationError
        when no annotated video can be used, or none of them has an action.
    """
    if not len(annotations):
        raise AnnotationError(f"{annotations.source}: names no video, so there is nothing to learn from")
    infos: dict[str, VideoInfo] = {}
    missing: list[str] = []
    broken: dict[str, str] = {}
    with console.progress("videos") as bar:
        task = bar.add_task("looking at the videos", total=len(annotations))
        for video_id in annotations.videos:
            path = find_video(videos_dir, video_id)
            if path is None:
                missing.append(video_id)
            else:
                try:
                    with open_video(path) as reader:
                        infos[video_id] = reader.info
                except VideoError as error:
                    broken[video_id] = str(error)
            bar.advance(task)
    if not infos:
        shown = ", ".join(list(annotations.videos)[:3])
        cause = next(iter(broken.values()), f"no file is called like {shown} (with .mp4, .mkv, .avi …)")
        raise AnnotationError(
            f"none of the {len(annotations)} annotated videos can be used from {videos_dir}: {cause}"
        )
    usable = annotations.without([*missing, *broken], "no usable file")
    if not any(video.segments for video in usable.videos.values()):
        raise AnnotationError(
            f"{annotations.source}: no action is annotated in the {len(infos)} videos of {videos_dir}"
        )
    return Survey(usable, infos, missing, broken)
