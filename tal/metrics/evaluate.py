"""mAP of predictions against annotations, equal to the official ActivityNet evaluator's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tal.annotations.types import AnnotationSet
from tal.errors import EvaluationError
from tal.metrics.average_precision import average_precisions
from tal.metrics.matching import candidate_pairs, match_all
from tal.metrics.table import build_table


@dataclass(frozen=True)
class EvaluationResult:
    """What was measured; fractions, not percent."""

    tiou: list[float]
    mAP: list[float]
    average_mAP: float
    per_class: dict[str, list[float]]
    counts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Keys ``tiou``, ``mAP``, ``average_mAP``, ``per_class`` (label -> list by tIoU), ``counts``."""
        return {
            "tiou": self.tiou,
            "mAP": self.mAP,
            "average_mAP": self.average_mAP,
            "per_class": self.per_class,
            "counts": self.counts,
        }


def check_thresholds(tiou: Sequence[float]) -> list[float]:
    """Thresholds as floats; EvaluationError unless there is one and all lie in (0, 1]."""
    thresholds = [float(t) for t in tiou]
    if not thresholds or not all(0 < t <= 1 for t in thresholds):
        raise EvaluationError(f"tIoU thresholds must lie above 0 and at most 1, not {thresholds}")
    return thresholds


def evaluate(
    annotations: AnnotationSet, predictions: pd.DataFrame, tiou: Sequence[float]
) -> EvaluationResult:
    """Mean average precision over the labels that have ground truth.

    As the official evaluator: predictions of labels without ground truth do not count; predictions for videos
    without ground truth are false; a label without predictions has AP 0; an instance is found once.

    Args:
        annotations: the subset to measure on.
        predictions: columns video_id, start_s, end_s, label, score.
        tiou: thresholds in (0, 1].

    Raises:
        EvaluationError: nothing can be measured (see ``build_table``), or a threshold makes no sense.
    """
    thresholds = check_thresholds(tiou)
    table = build_table(annotations, predictions)
    pairs = candidate_pairs(table, min(thresholds))
    ap = average_precisions(table, match_all(table, pairs, thresholds))  # [C, T]
    return EvaluationResult(
        tiou=thresholds,
        mAP=ap.mean(axis=0).tolist(),
        average_mAP=float(ap.mean(axis=0).mean()),
        per_class={name: ap[c].tolist() for c, name in enumerate(table.labels)},
        counts={
            "videos": len(table.videos),
            "videos_without_ground_truth": len(table.videos) - len(np.unique(table.gt_video)),
            "instances": len(table.gt_label),
            "labels": table.num_labels,
            "predictions": len(predictions),
            "predictions_of_unknown_labels": sum(table.unknown_labels.values()),
            "predictions_in_unknown_videos": sum(table.unknown_videos.values()),
        },
    )
