"""From annotations, store and video folder to the videos that training and validation use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import pandas as pd

from featstore import FeatureSpec, VideoRecord
from pipelines.config import DataConfig
from pipelines.data.run_annotations import RunAnnotations
from pipelines.data.videos import ANNOTATED, pair_with_files, tell
from pipelines.shared.console import log
from pipelines.train.findings import Findings
from tal.annotations import AnnotationSet, Segment, VideoAnnotation
from tal.annotations.ids import match_ids
from tal.errors import AnnotationError
from tal.grid import ClipGrid, FeatureGrid, FrameGrid
from tal.inference.stored_video import row_grid
from tal.memory.sampler import TrainingVideo
from tal.memory.unknown import Unknown


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
    ids
        of all annotated videos that are there: as the annotations write it -> as it is here.
    """

    train: list[TrainingVideo]
    validation: list[TrainingVideo]
    ground_truth: AnnotationSet | None
    labels: tuple[str, ...]
    ids: Mapping[str, str]


class StoredVideos(Protocol):
    """The part of a store that says which videos it has; or the stores of several hosts together."""

    @property
    def spec(self) -> FeatureSpec: ...
    @property
    def video_ids(self) -> list[str]: ...
    def video(self, video_id: str) -> VideoRecord: ...
    def videos(self) -> pd.DataFrame: ...


# Says how a video of the run is sampled: (path, annotation) -> (rows, fps, duration in seconds, grid)
Measure = Callable[[Path, VideoAnnotation], tuple[int, float, float, FeatureGrid]]


def load_data(
    config: DataConfig,
    annotated: RunAnnotations,
    store: StoredVideos | None,
    measure: Measure | None = None,
    elsewhere: Collection[str] = (),
) -> RunData:
    """Pair the annotations with stored rows, and with video files when the run looks at them.

    A video has its id in the store, without a store that of its file; ``ground_truth`` has the same ids. The
    log says which of them the annotations write otherwise. Videos that annotations name but nothing holds are
    left out with a warning.

    Parameters
    ----------
    measure
        stands in for the store when training needs none.
    elsewhere
        ids of video files that other hosts have; a video whose file is there has no path here.

    Raises
    ------
    VideoError
        when there is no folder of videos where the configuration says so.
    AnnotationError
        when nothing of a subset can be used; a `NotReadyError` when that is so of both.
    """
    places = _find_places(annotated.whole, config, store, elsewhere)
    findings = Findings()
    train: list[TrainingVideo] = []
    validation: list[TrainingVideo] = []
    with findings.collected():
        train = _videos(annotated.train, places, measure, "training", annotated.unknown)
    ground_truth = annotated.validation
    if ground_truth is not None:
        with findings.collected():
            validation = _videos(ground_truth, places, measure, "validation")
        ids = {k: places.ids[k] for k in ground_truth.videos if k in places.ids}
        ground_truth = ground_truth.renamed(ids)
    findings.settle()
    return RunData(train, validation, ground_truth, tuple(annotated.whole.labels), places.ids)


def planned_videos(annotations: AnnotationSet, encoder: ClipGrid, data: DataConfig) -> list[TrainingVideo]:
    """Videos as an extraction will make them, by what the annotations say of their lengths.

    A video of unknown length ends with its last action.
    """
    index = {label: number for number, label in enumerate(annotations.labels)}
    videos = []
    for video in annotations.videos.values():
        duration_s = video.duration_s or max((s.end_s for s in video.segments), default=0.0)
        sampling = FrameGrid(data.fps).capped(duration_s, data.max_frames)
        rows = encoder.num_rows(sampling.num_frames(duration_s))
        grid = encoder.rows_at(sampling.fps)
        videos.append(_training_video(video, index, rows, sampling.fps, duration_s, grid, ""))
    return videos


@dataclass(frozen=True)
class _Places:
    """Where the annotated videos are. By annotated id: ``ids`` of this run's videos, ``files`` of those that
    have one here. ``filed``: annotated ids that have one here or on another host. ``stored``: ids that are
    complete in the store. ``where``: both places, for messages.
    """

    ids: Mapping[str, str]
    files: Mapping[str, Path]
    filed: frozenset[str]
    stored: frozenset[str]
    config: DataConfig
    store: StoredVideos | None

    @property
    def where(self) -> str:
        return " and ".join(filter(None, [self.config.videos, self.config.store]))

    def holds(self, annotated_id: str) -> bool:
        """Whether the video is everywhere where the run looks for it."""
        return self.has_file(annotated_id) and (
            self.store is None or self.ids.get(annotated_id) in self.stored
        )

    def has_file(self, annotated_id: str) -> bool:
        """Whether its file is there, or the run does not look at files."""
        return not self.config.videos or annotated_id in self.filed

    def without(self, missing: Sequence[str]) -> str:
        """Why videos are not held, for messages: how many for which reason."""
        reasons: dict[str, list[str]] = {}
        states = self.store.videos().set_index("id") if self.store is not None else None
        for annotated_id in missing:
            stored_id = self.ids.get(annotated_id)
            if not self.has_file(annotated_id):
                reason = f"no file in {self.config.videos}"
            elif states is None or stored_id is None or stored_id not in states.index:
                reason = f"not in {self.config.store}"
            elif states["state"][stored_id] == "failed":
                reason = "failed in extraction"
            else:
                reason = "extraction not finished"
            reasons.setdefault(reason, []).append(annotated_id)
        return "; ".join(f"{len(ids)} {reason} ({shortened(ids)})" for reason, ids in reasons.items())


def _find_places(
    annotations: AnnotationSet, config: DataConfig, store: StoredVideos | None, elsewhere: Collection[str]
) -> _Places:
    """Annotated id -> file -> rows, so that file and rows are of one video; without files at once -> rows."""
    ids: Mapping[str, str] = {k: k for k in annotations.videos}
    listed: Collection[str] = annotations.videos
    files: Mapping[str, Path] = {}
    what = ANNOTATED
    if config.videos:
        sources = pair_with_files(Path(config.videos), annotations, elsewhere=elsewhere)
        tell(sources.matches)
        ids, listed, files, what = sources.pairs, sources.listed, sources.by_annotation, "video id"
    filed = frozenset(ids)
    if store is None:
        return _Places(ids, files, filed, frozenset(), config, None)
    matches = match_ids(listed, store.videos()["id"])
    tell(matches, what)
    ids = {k: matches.pairs[name] for k, name in ids.items() if name in matches.pairs}
    return _Places(ids, files, filed, frozenset(store.video_ids), config, store)


def _videos(
    annotations: AnnotationSet,
    places: _Places,
    measure: Measure | None,
    kind: str,
    unknown: Mapping[str, Sequence[Segment]] = MappingProxyType({}),
) -> list[TrainingVideo]:
    """The videos of a subset that are there; ``kind``: training or validation."""
    index = {label: number for number, label in enumerate(annotations.labels)}
    store = places.store
    videos: list[TrainingVideo] = []
    missing: list[str] = []
    unreadable = Findings()
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
            measured = None
            with unreadable.collected():
                measured = measure(path, annotation)
            if measured is None:
                continue
            num_rows, fps, duration_s, grid = measured
        videos.append(
            _training_video(
                replace(annotation, id=video_id),
                index,
                num_rows,
                fps,
                duration_s,
                grid,
                str(path) if path else "",
                unknown.get(annotated_id, ()),
            )
        )
    unreadable.settle()
    if not videos:
        raise AnnotationError(
            f"none of the {len(annotations)} {kind} videos of {places.config.annotations} can be used: "
            f"{places.without(missing)}; ids there look like "
            f"{', '.join(sorted(places.stored)[:3]) or 'nothing'}"
        )
    if missing:
        counts = "; their actions count as missed" if kind == "validation" else ""
        why = places.without(missing)
        log.warning(
            "%d of %d %s videos are left out: %s%s", len(missing), len(annotations), kind, why, counts
        )
    if kind == "training" and not any(len(v.segments) for v in videos):
        raise AnnotationError(
            f"no training video of {places.config.annotations} that is in {places.where} has an action"
        )
    return videos


def shortened(ids: Sequence[str]) -> str:
    """The first ids of a list."""
    return ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")


def _training_video(
    annotation: VideoAnnotation,
    index: dict[str, int],
    num_rows: int,
    fps: float,
    duration_s: float,
    grid: FeatureGrid,
    path: str,
    unknown: Sequence[Segment] = (),
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
        unknown=_unknown(unknown, index, grid) if unknown else None,
    )


def _unknown(stretches: Sequence[Segment], index: Mapping[str, int], grid: FeatureGrid) -> Unknown:
    seconds = np.array([(s.start_s, s.end_s) for s in stretches], dtype=np.float64)
    labels = np.array([index[s.label] for s in stretches], dtype=np.int64)
    return Unknown(grid.to_positions(seconds), labels, len(index))
