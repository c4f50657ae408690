"""Detections in the formats of other tools: checked once, then written by each format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.shared.files import require_new, safe_names
from tal.annotations import PREDICTION_COLUMNS, Detection
from tal.annotations.formats.base import PredictionFiles
from tal.annotations.formats.registry import prediction_files
from tal.errors import AnnotationError
from tal.shared.files import output_errors


def write_exports(
    predictions: pd.DataFrame,
    videos: Mapping[str, Path],
    formats: Sequence[str],
    out_dir: Path,
    overwrite: bool = False,
) -> list[Path]:
    """Write detections in several formats; returns the files in the order written.

    Parameters
    ----------
    predictions
        columns video_id (str), start_s, end_s (seconds), label (str), score.
    videos
        id -> file of every video looked at; those without a detection get an empty list or file. The files
        are only referred to, never opened.
    formats
        any of `tal.annotations.formats.registry.PREDICTION_FILES`.
    out_dir
        is made when missing; no id can name a file outside it.

    Raises
    ------
    AnnotationError
        unknown format, missing column, or a time or score that is not finite; nothing is written.
    OutputExistsError
        a file stands already and ``overwrite`` is false; nothing is written.
    OutputError
        a file cannot be written (permissions, disk full).
    """
    chosen = prediction_files(formats)
    detections = _checked(predictions)
    videos = {_text(video_id): Path(path) for video_id, path in videos.items()}
    names = safe_names([*(d.video_id for d in detections), *videos])
    tasks = [task for files in chosen for task in _tasks(files, detections, videos, names, Path(out_dir))]
    require_new([path for path, _ in tasks], overwrite)
    for path, write in tasks:
        with output_errors(path):
            write()
    return [path for path, _ in tasks]


def _tasks(
    files: PredictionFiles,
    detections: Sequence[Detection],
    videos: Mapping[str, Path],
    names: Mapping[str, str],
    out_dir: Path,
) -> list[tuple[Path, Callable[[], None]]]:
    """(file, function that writes it) for each file of one format; ``names``: id -> stem of its files."""
    if not files.file_per_video:
        path = out_dir / files.ending
        return [(path, partial(files.write, detections, videos, path))]
    of_video: dict[str, list[Detection]] = {video_id: [] for video_id in names}
    for detection in detections:
        of_video[detection.video_id].append(detection)
    tasks: list[tuple[Path, Callable[[], None]]] = []
    for video_id, name in names.items():
        path = out_dir / f"{name}{files.ending}"
        video = {video_id: videos[video_id]} if video_id in videos else {}
        tasks.append((path, partial(files.write, of_video[video_id], video, path)))
    return tasks


def _checked(predictions: pd.DataFrame) -> list[Detection]:
    """Detections in order of video and time."""
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise AnnotationError(
            f"predictions lack the column {missing[0]!r}; they need {', '.join(PREDICTION_COLUMNS)}"
        )
    numbers = predictions[["start_s", "end_s", "score"]].to_numpy(np.float64)
    bad = ~np.isfinite(numbers).all(axis=1) | (numbers[:, 1] < numbers[:, 0])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise AnnotationError(
            f"{int(bad.sum())} of {len(bad)} detections cannot be written; the first is row {row}: "
            f"{predictions.iloc[row].to_dict()}: times and scores must be finite and end_s not before start_s"
        )
    ids, labels = (map(_text, predictions[name].tolist()) for name in ("video_id", "label"))
    return sorted(
        Detection(video_id, start_s, end_s, label, score)
        for video_id, label, (start_s, end_s, score) in zip(ids, labels, numbers.tolist(), strict=True)
    )


def _text(value: object) -> str:
    """Text that can be written as UTF-8; file names may hold bytes that are not."""
    return str(value).encode("utf-8", "replace").decode("utf-8")
