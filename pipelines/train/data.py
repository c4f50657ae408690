"""From annotations, store and video folder to the videos that training and validation use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore import FeatureStore
from pipelines.config import DataConfig
from pipelines.console import log
from tal.annotations import AnnotationSet, VideoAnnotation, find_video, read_annotations
from tal.errors import AnnotationError, ConfigError
from tal.grid import FeatureGrid
from tal.memory.plan import TrainingVideo
from tal.stored_video import row_grid


@dataclass(frozen=True)
class RunData:
    """Videos to train on, the subset to validate on (None: no validation) with its videos, the labels in
    order.
    """

    train: list[TrainingVideo]
    validation: list[TrainingVideo]
    truth: AnnotationSet | None
    labels: tuple[str, ...]


# Says how a video of the run is sampled: (path, annotation) -> (rows, fps, duration in seconds, grid)
Measure = Callable[[Path, VideoAnnotation], tuple[int, float, float, FeatureGrid]]


def load_data(config: DataConfig, store: FeatureStore | None, measure: Measure | None = None) -> RunData:
    """Read the annotations and pair them with stored rows, and with video files when the run looks at them.

    ``measure`` stands in for the store when training needs none. Videos that annotations name but nothing
    holds are left out with a warning.

    Raises
    ------
    AnnotationError
        when a subset is unknown or nothing of it can be used.
    """
    if not config.annotations:
        raise ConfigError("data.annotations is empty: give the annotation file, --set data.annotations=FILE")
    annotations = read_annotations(config.annotations)
    train = _videos(annotations.subset(config.train_subset), config, store, measure, needs_segments=True)
    truth, validation = None, []
    if config.val_subset:
        truth = annotations.subset(config.val_subset)
        validation = _videos(truth, config, store, measure, needs_segments=False)
    if not annotations.labels:
        raise AnnotationError(f"{config.annotations} has no labelled segment to learn from")
    return RunData(train, validation, truth, tuple(annotations.labels))


def _videos(
    annotations: AnnotationSet,
    config: DataConfig,
    store: FeatureStore | None,
    measure: Measure | None,
    needs_segments: bool,
) -> list[TrainingVideo]:
    index = {label: number for number, label in enumerate(annotations.labels)}
    stored = set(store.video_ids) if store is not None else set()
    videos: list[TrainingVideo] = []
    missing: list[str] = []
    for video_id, annotation in sorted(annotations.videos.items()):
        path = find_video(config.videos, video_id) if config.videos else None
        if (config.videos and path is None) or (store is not None and video_id not in stored):
            missing.append(video_id)
            continue
        if store is not None:
            record = store.video(video_id)
            num_rows, fps, duration_s = record.num_rows, record.fps, record.duration_s or 0.0
            grid = row_grid(store.spec, fps)
        else:
            assert path is not None and measure is not None
            num_rows, fps, duration_s, grid = measure(path, annotation)
        videos.append(
            _training_video(annotation, index, num_rows, fps, duration_s, grid, str(path) if path else "")
        )
    where = " and ".join(filter(None, [config.videos, config.store]))
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        log.warning("%d of %d videos are not in %s: %s", len(missing), len(annotations), where, shown)
    if not videos:
        raise AnnotationError(
            f"none of the {len(annotations)} videos of {config.annotations} is in {where}; ids there look "
            f"like {', '.join(sorted(stored)[:3]) or 'nothing'}"
        )
    if needs_segments and not any(len(v.segments) for v in videos):
        raise AnnotationError(f"no training video of {config.annotations} has a labelled segment")
    return videos


def _training_video(
    annotation: VideoAnnotation,
    index: dict[str, int],
    num_rows: int,
    fps: float,
    duration_s: float,
    grid: FeatureGrid,
    path: str,
) -> TrainingVideo:
    """Segments cut to the video (end beyond the container's duration), in row positions."""
    end_s = duration_s or num_rows * grid.step_s
    seconds = np.array([(s.start_s, s.end_s) for s in annotation.segments], dtype=np.float64).reshape(-1, 2)
    labels = np.array([index[s.label] for s in annotation.segments], dtype=np.int64)
    cut = np.clip(seconds, 0.0, end_s)
    kept = cut[:, 1] > cut[:, 0]
    if (lost := int((~kept).sum())) > 0:
        log.warning(
            "%s: %d segments begin after its end at %.2f s and are left out", annotation.id, lost, end_s
        )
    return TrainingVideo(
        id=annotation.id,
        num_rows=num_rows,
        fps=fps,
        grid=grid,
        segments=grid.to_positions(cut[kept]),
        labels=labels[kept],
        path=path,
        duration_s=end_s,
    )
