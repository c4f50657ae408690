"""How well single rows tell actions, by their position in the clip: average precision of the row classifier.

A row at the border of a clip has seen pictures on one side only; an encoder that has learnt motion shows it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.config import RunConfig
from pipelines.data.run_annotations import read_run_annotations
from pipelines.data.videos import find_sources
from pipelines.shared.files import write_text
from tal.annotations import VideoAnnotation
from tal.encoders.whole import WholeVideo, encode_videos
from tal.inference.detector import Detector
from tal.video.pool import DecodeTask


def row_precision(run: Path, config: RunConfig) -> list[float]:
    """Mean AP over classes of a finished run's row classifier on validation rows.

    First of all rows, then of those at each position in a clip. Kept in RUN/row_precision.json.
    """
    kept = run / "row_precision.json"
    if kept.exists():
        return json.loads(kept.read_text())
    annotations = read_run_annotations(config.data, config.learns_one_class).validation
    assert annotations is not None and config.encoder is not None
    detector = Detector.load(run, "cpu")
    classifier = detector.localizer.row_classifier
    assert classifier is not None
    files = find_sources(Path(config.data.videos), annotations).paths
    tasks = [DecodeTask(v, files[v], config.data.reader, config.data.fps, 0) for v in annotations.videos]
    scores, truths, positions = [], [], []
    with closing(encode_videos(detector.clip_encoder(), tasks, 0)) as videos:
        for video in videos:
            assert isinstance(video, WholeVideo), video.key
            rows = video.rows[: video.filled]
            found = np.empty((len(rows), classifier.num_classes), np.float32)
            classifier.probabilities(rows, found)
            grid = config.encoder.grid.rows_at(video.fps)
            at_s = grid.to_seconds(np.arange(len(rows), dtype=np.float64))
            scores.append(found)
            truths.append(_truth(annotations.videos[video.key], detector.labels, at_s))
            positions.append(np.arange(len(rows)) % config.encoder.grid.rows_per_clip)
    score, truth, position = map(np.concatenate, (scores, truths, positions))
    everywhere = [np.ones(len(score), bool), *(position == p for p in range(position.max() + 1))]
    values = [mean_precision(score[here], truth[here]) for here in everywhere]
    write_text(kept, json.dumps(values), overwrite=True)
    return values


def _truth(video: VideoAnnotation, labels: Sequence[str], at_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether an action of each class goes on at each time, [T, classes]."""
    truth = np.zeros((len(at_s), len(labels)), bool)
    for segment in video.segments:
        truth[(at_s >= segment.start_s) & (at_s <= segment.end_s), labels.index(segment.label)] = True
    return truth


def mean_precision(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Mean over classes that occur of the mean precision at their rows, best score first."""
    values = []
    for of_class, true in zip(score.T, truth.T, strict=True):
        if true.any():
            ranked = true[np.argsort(-of_class, kind="stable")]
            precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
            values.append(float(precision[ranked].mean()))
    return float(np.mean(values))
