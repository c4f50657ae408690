"""The contents of a report, gathered from predictions, annotations and a run folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.evaluate.duplicates import Duplicates
from pipelines.report.run_folder import (
    RunFolder,
    Series,
    memory_age,
    read_predicted,
    read_run,
    training_series,
)
from pipelines.report.scores import Scores, score
from tal.annotations import AnnotationSet, VideoAnnotation, VideoFolder, read_annotations, read_predictions
from tal.annotations.ids import align_ids, match_ids
from tal.errors import EvaluationError, LongtalError

# Detections per video that the page holds; those left out have the lowest scores.
MAX_PER_VIDEO = 200


class ReportError(LongtalError, ValueError):
    """A report cannot be made of this source."""


@dataclass(frozen=True)
class ReportVideo:
    """One video: times in seconds, labels as indices into the report's labels."""

    id: str
    duration_s: float
    file: Path | None
    ground_truth: list[tuple[float, float, int]] | None  # start, end, label; None: not annotated
    detections: list[tuple[float, float, int, float]]  # start, end, label, score; by time

    def to_json(self) -> dict[str, Any]:
        def columns(rows: Sequence[tuple[float, ...]], names: Sequence[str]) -> dict[str, list[float]]:
            return {name: [row[i] for row in rows] for i, name in enumerate(names)}

        annotated = self.ground_truth
        return {
            "id": self.id,
            "duration": round(self.duration_s, 3),
            "truth": None if annotated is None else columns(annotated, ("start", "end", "label")),
            "found": columns(self.detections, ("start", "end", "label", "score")),
        }


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    title: str
    subtitle: str
    labels: list[str]
    videos: list[ReportVideo]
    scores: Scores | None = None
    thresholds: dict[str, float] | None = None
    training: list[Series] = field(default_factory=list)
    memory: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The data of the page; video addresses are filled in by `render`."""
        per_class = self.scores.per_class if self.scores else None
        thresholds = self.thresholds
        common = float(np.median(list(thresholds.values()))) if thresholds else self._calm_threshold()
        return {
            "title": self.title,
            "subtitle": self.subtitle,
            "version": _version(),
            "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "labels": self.labels,
            "videos": [video.to_json() for video in self.videos],
            "tiou": self.scores.tiou if self.scores else None,
            "mAP": self.scores.mAP if self.scores else None,
            "averageMAP": self.scores.average_mAP if self.scores else None,
            "perClass": [per_class.get(label) for label in self.labels] if per_class else None,
            "profile": self.scores.profile if self.scores else None,
            "threshold": common,
            "thresholds": [thresholds.get(label, common) for label in self.labels] if thresholds else None,
            "training": [series.to_json() for series in self.training],
            "memory": self.memory,
            "notes": self.notes,
        }

    def _calm_threshold(self) -> float:
        """0.5, or lower so that a video shows ten detections on average."""
        scores = sorted((row[3] for video in self.videos for row in video.detections), reverse=True)
        few = scores[: 10 * len(self.videos)]
        return min(0.5, math.floor(100 * few[-1]) / 100) if few else 0.5


def collect(
    source: Path,
    annotations: Path | None = None,
    subset: str | None = None,
    videos_dir: Path | None = None,
    tiou: Sequence[float] | None = None,
    max_per_video: int = MAX_PER_VIDEO,
    ground_truth: AnnotationSet | None = None,
) -> Report:
    """Gather a report.

    Parameters
    ----------
    source
        a run folder, a predictions file, or a folder that `predict` wrote.
    annotations, subset, videos_dir
        ground truth to compare with, and the folder of video files; a run's configuration names its own.
    tiou
        thresholds of the mAP; None: 0.3 to 0.7.
    ground_truth
        the content of ``annotations``, where the caller has read and cut it: then it is taken as it is.

    Raises
    ------
    ReportError
        the source is neither, the videos' folder does not exist, or ground truth and predictions have no
        video in common.
    LongtalError
        predictions or annotations cannot be read.
    """
    notes: list[str] = []
    run, predicted = read_run(source), read_predicted(source)
    if videos_dir is not None and not videos_dir.is_dir():
        raise ReportError(f"{videos_dir} is not a folder: --videos takes the folder with the video files")
    predictions_path = _predictions_of(source, run)
    if run is not None:
        given = {"annotations": annotations or ground_truth, "videos": videos_dir}
        notes += [said for what, said in run.lost.items() if given[what] is None]
        annotations = annotations or run.annotations
        subset = subset or run.subset
        videos_dir = videos_dir or run.videos
    truth = ground_truth
    if truth is None and annotations is not None:
        truth = read_annotations(annotations)
        if subset:
            truth = truth.subset(subset)
    if truth is not None:
        notes += truth.notes
    predictions = read_predictions(predictions_path) if predictions_path else _no_predictions()
    if truth is not None:
        predictions, renamed = align_ids(predictions, truth.videos)
        notes += renamed
        if len(predictions) and not set(predictions["video_id"].astype(str)) & set(truth.videos):
            raise ReportError(
                f"{annotations} and {predictions_path} have no video in common: ids such as "
                f"{next(iter(truth.videos), 'none')!r} there, {predictions['video_id'].iloc[0]!r} here"
                + "".join(f"; {note}" for note in renamed)
            )
        if not subset and ground_truth is None and predictions_path is not None:
            truth = _only_predicted(truth, predictions, notes)
    scores = None
    if truth is not None and len(predictions):
        try:
            scores = score(truth, predictions, tiou)
            notes.append(f"mAP: {Duplicates.of(truth).rule}")
        except EvaluationError as error:
            notes.append(f"No mAP: {error}")
    if predictions_path is None:
        notes.append("This run has no validation predictions yet.")
        truth = None
    elif predictions.empty:
        notes.append(f"{predictions_path} holds no detection.")
    labels = _labels(truth, predictions)
    videos = _videos(truth, predictions, labels, _Files(videos_dir, predicted.videos), max_per_video, notes)
    thresholds = run.thresholds if run is not None else predicted.thresholds
    where = [str(predictions_path or source)]
    if truth is not None:
        where.append(f"against {annotations}" + (f", subset {subset}" if subset else ""))
    return Report(
        title=(run.name if run is not None else source.stem) or "report",
        subtitle=" · ".join(where),
        labels=labels,
        videos=videos,
        scores=scores,
        thresholds=thresholds,
        training=training_series(run.log) if run is not None else [],
        memory=memory_age(run.memory, notes) if run is not None else None,
        notes=notes,
    )


def _predictions_of(source: Path, run: RunFolder | None) -> Path | None:
    if run is not None:
        return run.predictions
    if source.is_dir():
        for name in ("predictions.json", "predictions.csv"):
            if (source / name).is_file():
                return source / name
        raise ReportError(
            f"{source} is not a run (config.yaml, log.jsonl) and holds no predictions.json or predictions.csv"
        )
    return source


def _no_predictions() -> pd.DataFrame:
    frame = pd.DataFrame({"video_id": [], "start_s": [], "end_s": [], "label": [], "score": []})
    return frame.astype({"video_id": str, "label": str})


def _only_predicted(truth: AnnotationSet, predictions: pd.DataFrame, notes: list[str]) -> AnnotationSet:
    """The annotated videos that the predictions are about; for when no subset is named."""
    about = set(predictions.attrs.get("videos") or predictions["video_id"].astype(str).unique())
    drop = [video_id for video_id in truth.videos if video_id not in about]
    if not drop or len(drop) == len(truth.videos):
        return truth
    notes.append(
        f"{len(drop)} of {len(truth.videos)} annotated videos are not in the predictions and are left out; "
        "name a subset to count them"
    )
    return truth.without(drop, "not in the predictions")


def _labels(truth: AnnotationSet | None, predictions: pd.DataFrame) -> list[str]:
    annotated = list(truth.labels) if truth is not None else []
    return annotated + sorted(set(predictions["label"].astype(str)) - set(annotated))


@dataclass(frozen=True)
class _Files:
    """Where video files are: in a folder, else at the paths that `predict` noted."""

    folder: Path | None
    noted: dict[str, Path]

    def find(self, video_ids: Sequence[str], notes: list[str]) -> dict[str, Path]:
        """Id -> file, of the videos that have one; ``notes`` gets a line on each id that differs."""
        pairs = match_ids(video_ids, self.noted).pairs
        files = {ours: self.noted[theirs] for ours, theirs in pairs.items()}
        if self.folder is not None:
            listed = VideoFolder(self.folder)
            matches = listed.match(video_ids)
            notes += (f"Video files: {note}" for note in matches.notes("id"))
            files |= {ours: listed.files[theirs] for ours, theirs in matches.pairs.items()}
        return files


def _videos(
    truth: AnnotationSet | None,
    predictions: pd.DataFrame,
    labels: list[str],
    files: _Files,
    most: int,
    notes: list[str],
) -> list[ReportVideo]:
    code = {label: number for number, label in enumerate(labels)}
    groups = {str(name): group for name, group in predictions.groupby("video_id", observed=True, sort=False)}
    ids = list(truth.videos) if truth is not None else []
    ids += [i for i in predictions.attrs.get("videos") or groups if i not in set(ids)]
    paths = files.find(ids, notes)
    cut = 0
    videos = []
    for video_id in ids:
        annotated = truth.videos.get(video_id) if truth is not None else None
        rows = groups.get(video_id)
        detections: list[tuple[float, float, int, float]] = []
        if rows is not None:
            cut += max(0, len(rows) - most)
            detections = _rows(rows.nlargest(most, "score"), code)
        ends = [segment[1] for segment in detections]
        if annotated is not None:
            ends += [segment.end_s for segment in annotated.counted]
        duration_s = annotated.duration_s if annotated is not None else None
        videos.append(
            ReportVideo(
                id=video_id,
                duration_s=duration_s or max(ends, default=0.0),
                file=paths.get(video_id),
                ground_truth=_segments(annotated, code) if annotated is not None else None,
                detections=detections,
            )
        )
    if cut:
        notes.append(f"{cut} detections are left out: the page holds the {most} best of each video")
    if files.folder is not None and videos and not any(video.file for video in videos):
        notes.append(f"No video file was found in {files.folder}")
    return videos


def _rows(frame: pd.DataFrame, code: dict[str, int]) -> list[tuple[float, float, int, float]]:
    columns = (frame[name].tolist() for name in ("start_s", "end_s", "label", "score"))
    rows = [
        (round(start, 3), round(end, 3), code[str(label)], round(confidence, 5))
        for start, end, label, confidence in zip(*columns, strict=True)
        if all(map(math.isfinite, (start, end, confidence)))
    ]
    return sorted(rows)


def _segments(video: VideoAnnotation, code: dict[str, int]) -> list[tuple[float, float, int]]:
    return sorted((round(s.start_s, 3), round(s.end_s, 3), code[s.label]) for s in video.counted)


def _version() -> str:
    try:
        return version("longtal")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"
