"""What the row classifier thinks of a decoder's detections, as predictions of its own."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tal.annotations import prediction_frame
from tal.annotations.detection import Detection
from tal.annotations.spans import Span, subtract, total_s, union
from tal.review.doubts import Detections, Rival

# A weaker detection of which this share lies in stronger ones of its label says nothing of its own.
_COVERED = 0.5


def row_rival(
    found: Detections, scores: NDArray[np.float64], videos: Collection[str], name: str = "the rows"
) -> Rival:
    """The row classifier as one that predicts: its score of each detection in the place of the decoder's.

    It shows as many of each class as the decoder does, those with the highest scores: its probabilities are
    on another scale, and need no labels to be compared so. A class of which the decoder shows none needs the
    mean of the scores that the others need. Detections that the decoder shows are all in it; of the weaker
    ones those are left out that repeat one, or a part of it.

    Parameters
    ----------
    scores
        float [P], by `found`: mean probability of the detection's label over its rows.
    videos
        whose rows were looked at.
    """
    seen = np.array([video in videos for video in found.video], dtype=bool)
    shown = np.flatnonzero(found.shown & seen)
    spans: dict[tuple[str, str], list[Span]] = {}
    for i in shown.tolist():
        _note(spans, found.row(i))
    others = np.flatnonzero(~found.shown & seen)
    kept = shown.tolist()
    for i in others[np.argsort(-scores[others], kind="stable")].tolist():
        if not _repeats(spans, found.row(i)):
            _note(spans, found.row(i))
            kept.append(i)
    thresholds = {}
    for label in sorted({found.label[i] for i in shown.tolist()}):
        own = np.sort(scores[[i for i in kept if found.label[i] == label]])[::-1]
        thresholds[label] = float(own[(found.label[shown] == label).sum() - 1])
    rows = [found.row(i) for i in kept]
    predictions = prediction_frame(
        [d.video_id for d in rows],
        [d.start_s for d in rows],
        [d.end_s for d in rows],
        [d.label for d in rows],
        scores[kept].tolist(),
    )
    return Rival(_plain(predictions), thresholds or np.inf, name, frozenset(videos))


def _note(spans: dict[tuple[str, str], list[Span]], d: Detection) -> None:
    spans.setdefault((d.video_id, d.label), []).append((d.start_s, d.end_s))


def _repeats(spans: dict[tuple[str, str], list[Span]], d: Detection) -> bool:
    """Whether half of a detection, or more, lies in those that were noted."""
    there = union(spans.get((d.video_id, d.label), ()))
    left = total_s(subtract((d.start_s, d.end_s), there))
    return left <= (1 - _COVERED) * (d.end_s - d.start_s)


def _plain(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.astype({"video_id": "object", "label": "object"})
