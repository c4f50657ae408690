"""The contents of a review: videos, detections to judge, actions that are known, classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.report.run_folder import read_predicted, read_run
from tal.annotations import AnnotationSet, VideoFolder, read_annotations, read_predictions
from tal.annotations.builder import first_ids
from tal.annotations.corrections import Judgement, VideoCorrections
from tal.annotations.detection import Detection
from tal.annotations.files import check_name
from tal.annotations.ids import align_ids, match_ids
from tal.annotations.labels import clean_label
from tal.errors import LongtalError

# Detections per video that the page holds; those left out have the lowest scores.
MAX_PER_VIDEO = 200


class ReviewError(LongtalError, ValueError):
    """A review cannot be made of this."""


@dataclass(frozen=True)
class ReviewVideo:
    """One video: its file, what a model found, and what was known before the review."""

    file: Path | None
    detections: tuple[Detection, ...]
    known: VideoCorrections

    @property
    def id(self) -> str:
        return self.known.id

    @property
    def last_end_s(self) -> float:
        """Where the last of what is known or was found ends; 0 where there is nothing."""
        ends = [action.segment.end_s for action in self.known.actions]
        return max([*ends, *(found.end_s for found in self.detections)], default=0.0)


@dataclass(frozen=True)
class Review:
    """Everything that is reviewed; ``labels`` in a fixed order."""

    title: str
    labels: tuple[str, ...]
    videos: tuple[ReviewVideo, ...]
    notes: tuple[str, ...] = ()


def collect_review(
    source: Path | None,
    videos_dir: Path | None,
    annotations: Path | None = None,
    subset: str | None = None,
    labels: Sequence[str] = (),
    max_per_video: int = MAX_PER_VIDEO,
) -> Review:
    """Gather a review.

    Parameters
    ----------
    source
        a predictions file, a folder that `predict` wrote, or a run folder, whose newest validation is
        reviewed; None: no detections, only videos.
    videos_dir
        the folder of video files; a run's own by default.
    annotations, subset
        actions that are known: each video begins with them as true actions.
    labels
        classes beside those that predictions and annotations name.

    Raises
    ------
    ReviewError
        nothing to review, or a folder that is not there.
    LongtalError
        predictions or annotations cannot be read.
    """
    notes: list[str] = []
    run = read_run(source) if source is not None else None
    predicted = read_predicted(source) if source is not None and source.is_dir() else None
    videos_dir = videos_dir or (run.videos if run is not None else None)
    if videos_dir is not None and not videos_dir.is_dir():
        raise ReviewError(f"{videos_dir} is not a folder: --videos takes the folder with the video files")
    folder = VideoFolder(videos_dir) if videos_dir is not None else None
    truth = read_annotations(annotations) if annotations is not None else None
    if truth is not None and subset:
        truth = truth.subset(subset)
    predictions = None
    if source is not None:
        predictions = read_predictions(predictions_of(source))
        if truth is not None:
            predictions, renamed = align_ids(predictions, truth.videos)
            notes += renamed
    ids = _ids(truth, predictions, folder)
    if not ids:
        raise ReviewError("no video to review: give predictions, --annotations, or --videos DIR with files")
    noted = predicted.videos if predicted is not None else {}
    files = {ours: noted[theirs] for ours, theirs in match_ids(ids, noted).pairs.items()}
    if folder is not None:
        matches = folder.match(ids)
        notes += (f"Video files: {note}" for note in matches.notes("id"))
        files |= {ours: folder.files[theirs] for ours, theirs in matches.pairs.items()}
    if missing := [key for key in ids if key not in files]:
        notes.append(f"{len(missing)} of {len(ids)} videos have no file: {first_ids(missing)}")
    found = _detections(predictions, max_per_video, notes)
    return Review(
        title=source.stem if source is not None else (videos_dir or Path("review")).absolute().name,
        labels=_labels(labels, truth, predictions),
        videos=tuple(ReviewVideo(files.get(key), found.get(key, ()), _known(key, truth)) for key in ids),
        notes=tuple(notes),
    )


def predictions_of(source: Path) -> Path:
    """A file of predictions; that of a run's newest validation; that of a folder that `predict` wrote.

    Raises
    ------
    ReviewError
        there is none.
    """
    if (run := read_run(source)) is not None:
        if run.predictions is None:
            raise ReviewError(f"{source} has no validation predictions yet: nothing to review")
        return run.predictions
    if not source.is_dir():
        return source
    for name in ("predictions.json", "predictions.csv"):
        if (source / name).is_file():
            return source / name
    raise ReviewError(
        f"{source} is not a run (config.yaml, log.jsonl) and holds no predictions.json or predictions.csv"
    )


def _ids(
    truth: AnnotationSet | None, predictions: pd.DataFrame | None, folder: VideoFolder | None
) -> list[str]:
    """What is predicted, or else annotated, or else lies in the folder; in that file's order."""
    if predictions is not None:
        return list(predictions.attrs.get("videos") or predictions["video_id"].astype(str).unique())
    if truth is not None:
        return list(truth.videos)
    return list(folder.files) if folder is not None else []


def _labels(
    given: Iterable[str], truth: AnnotationSet | None, predictions: pd.DataFrame | None
) -> tuple[str, ...]:
    """The classes that were given, then those annotated, then those found."""
    named = []
    for label in given:
        check_name(label, "--labels")
        named.append(clean_label(label))
    annotated = list(truth.labels) if truth is not None else []
    found = sorted(set(predictions["label"].astype(str))) if predictions is not None else []
    return tuple(dict.fromkeys([*named, *annotated, *found]))


def _detections(
    predictions: pd.DataFrame | None, most: int, notes: list[str]
) -> dict[str, tuple[Detection, ...]]:
    """Id -> the best detections by time. Those that end before they begin cannot be judged."""
    if predictions is None:
        return {}
    cut, bad = 0, 0
    found = {}
    for video_id, rows in predictions.groupby("video_id", observed=True, sort=False):
        cut += max(0, len(rows) - most)
        best = rows.nlargest(most, "score")
        columns = (best[name].tolist() for name in ("start_s", "end_s", "label", "score"))
        every = [
            Detection(str(video_id), max(0.0, start), end, str(label), score)
            for start, end, label, score in zip(*columns, strict=True)
        ]
        good = [d for d in every if d.start_s < d.end_s and all(map(math.isfinite, (d.end_s, d.score)))]
        bad += len(every) - len(good)
        found[str(video_id)] = tuple(sorted(good, key=lambda d: (d.start_s, d.end_s, d.label)))
    if cut:
        notes.append(f"{cut} detections are left out: the page holds the {most} best of each video")
    if bad:
        notes.append(f"{bad} detections are left out: they do not end after their start")
    return found


def _known(video_id: str, truth: AnnotationSet | None) -> VideoCorrections:
    """A video before the review: its annotations, as actions that a person added."""
    video = truth.videos.get(video_id) if truth is not None else None
    if video is None:
        return VideoCorrections(video_id)
    return VideoCorrections(
        video_id,
        video.subset,
        video.duration_s,
        video.fps,
        tuple(Judgement(segment, "added") for segment in video.segments if segment.start_s >= 0),
    )
