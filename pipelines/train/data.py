"""From annotations, store and video folder to the videos that training and validation use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featstore import FeatureStore
from pipelines.config import DataConfig
from pipelines.data.run_annotations import read_run_annotations
from pipelines.data.videos import ANNOTATED, pair_with_files, tell
from pipelines.shared.console import log
from tal.annotations import AnnotationSet, VideoAnnotation
from tal.annotations.ids import match_ids
from tal.errors import AnnotationError
from tal.grid import FeatureGrid
from tal.inference.stored_video import row_grid
from tal.memory.sampler import TrainingVideo


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is judged on.

    Attributes
    ----------
    train, validation
        videos.
    ground_truth
        the annotations of the validation subset; None: no validation.
    labels
        class names in order.
    """

    train: list[TrainingVideo]
    validation: list[TrainingVideo]
    ground_truth: AnnotationSet | None
    labels: tuple[str, ...]


# Says how a video of the run is sampled: (path, annotation) -> (rows, fps, duration in seconds, grid)
Measure = Callable[[Path, VideoAnnotation], tuple[int, float, float, FeatureGrid]]


def load_data(
    config: DataConfig,
    store: FeatureStore | None,
    measure: Measure | None = None,
    one_class: bool = False,
) -> RunData:
    """Read the annotations and pair them with stored rows, and with video files when the run looks at them.

    A video has its id in the store, without a store that of its file; ``ground_truth`` has the same ids. The
    log says which of them the annotations write otherwise. Videos that annotations name but nothing holds are
    left out with a warning.

    Parameters
    ----------
    measure
        stands in for the store when training needs none.
    one_class
        all labels are one.

    Raises
    ------
    VideoError
        when there is no folder of videos where the configuration says so.
    AnnotationError, EvaluationError
        when a subset is unknown or nothing of it can be used.
    """
    annotated = read_run_annotations(config, one_class)
    annotations = annotated.whole
    for note in (*annotations.notes, *annotated.notes):
        log.info("%s", note)
    places = _find_places(annotations, config, store)
    train = _videos(annotated.train, places, measure, needs_segments=True)
    ground_truth, validation = annotated.validation, []
    if ground_truth is not None:
        validation = _videos(ground_truth, places, measure, needs_segments=False)
        ids = {k: places.ids[k] for k in ground_truth.videos if k in places.ids}
        ground_truth = ground_truth.renamed(ids)
    if not annotations.labels:
        raise AnnotationError(f"{config.annotations} has no labelled segment to learn from")
    return RunData(train, validation, ground_truth, tuple(annotations.labels))


@dataclass(frozen=True)
class _Places:
    """Where the annotated videos are. By annotated id: ``ids`` of this run's videos, ``files`` of those that
    have one. ``stored``: ids that are complete in the store. ``where``: both places, for messages.
    """

    ids: Mapping[str, str]
    files: Mapping[str, Path]
    stored: frozenset[str]
    config: DataConfig
    store: FeatureStore | None

    @property
    def where(self) -> str:
        return " and ".join(filter(None, [self.config.videos, self.config.store]))

    def holds(self, annotated_id: str) -> bool:
        """Whether the video is everywhere where the run looks for it."""
        has_file = not self.config.videos or annotated_id in self.files
        return has_file and (self.store is None or self.ids.get(annotated_id) in self.stored)


def _find_places(annotations: AnnotationSet, config: DataConfig, store: FeatureStore | None) -> _Places:
    """Annotated id -> file -> rows, so that file and rows are of one video; without files at once -> rows."""
    ids: Mapping[str, str] = {k: k for k in annotations.videos}
    listed: Collection[str] = annotations.videos
    files: Mapping[str, Path] = {}
    what = ANNOTATED
    if config.videos:
        sources = pair_with_files(Path(config.videos), annotations)
        tell(sources.matches)
        ids, listed, files, what = sources.pairs, sources.listed, sources.by_annotation, "video id"
    if store is None:
        return _Places(ids, files, frozenset(), config, None)
    matches = match_ids(listed, store.videos()["id"])
    tell(matches, what)
    ids = {k: matches.pairs[name] for k, name in ids.items() if name in matches.pairs}
    return _Places(ids, files, frozenset(store.video_ids), config, store)


def _videos(
    annotations: AnnotationSet, places: _Places, measure: Measure | None, needs_segments: bool
) -> list[TrainingVideo]:
    index = {label: number for number, label in enumerate(annotations.labels)}
    store = places.store
    videos: list[TrainingVideo] = []
    missing: list[str] = []
    for annotated_id, annotation in sorted(annotations.videos.items()):
        if not places.holds(annotated_id):
            missing.append(annotated_id)
            continue
        video_id, path = places.ids[annotated_id], places.files.get(annotated_id)
        if store is not None:
            record = store.video(video_id)
            num_rows, fps, duration_s = record.num_rows, record.fps, record.duration_s or 0.0
            grid = row_grid(store.spec, fps)
        else:
            assert path is not None and measure is not None
            num_rows, fps, duration_s, grid = measure(path, annotation)
        videos.append(
            _training_video(
                replace(annotation, id=video_id),
                index,
                num_rows,
                fps,
                duration_s,
                grid,
                str(path) if path else "",
            )
        )
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        log.warning("%d of %d videos are not in %s: %s", len(missing), len(annotations), places.where, shown)
    if not videos:
        raise AnnotationError(
            f"none of the {len(annotations)} videos of {places.config.annotations} is in {places.where}; ids "
            f"there look like {', '.join(sorted(places.stored)[:3]) or 'nothing'}"
        )
    if needs_segments and not any(len(v.segments) for v in videos):
        raise AnnotationError(f"no training video of {places.config.annotations} has a labelled segment")
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
