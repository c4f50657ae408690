"""mAP of predictions against annotations, as the official ActivityNet evaluator on the same instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tal.annotations.types import AnnotationSet
from tal.errors import EvaluationError
from tal.metrics.average_precision import average_precisions
from tal.metrics.diagnosis import diagnose
from tal.metrics.matching import Match, Pairs, candidate_pairs, match, match_all
from tal.metrics.operating import best_thresholds, operating_point
from tal.metrics.protocols import PROTOCOLS, Protocol
from tal.metrics.recall import proposal_recall, recall_at_kx, video_top1
from tal.metrics.table import FloatArray, IntArray, Table, build_table


@dataclass(frozen=True)
class EvaluationResult:
    """The figures of an evaluation; fractions, not percent. ``extra``: other figures than mAP, by name."""

    tiou: list[float]
    mAP: list[float]
    average_mAP: float
    per_class: dict[str, list[float]]
    counts: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """``tiou``, ``mAP``, ``average_mAP``, ``per_class`` (label -> list by tIoU), counts, extras."""
        return {
            "tiou": self.tiou,
            "mAP": self.mAP,
            "average_mAP": self.average_mAP,
            "per_class": self.per_class,
            "counts": self.counts,
            **self.extra,
        }


def check_thresholds(tiou: Sequence[float]) -> list[float]:
    """Thresholds as floats; EvaluationError unless there is one and all lie in (0, 1]."""
    thresholds = [float(t) for t in tiou]
    if not thresholds or not all(0 < t <= 1 for t in thresholds):
        raise EvaluationError(f"tIoU thresholds must lie above 0 and at most 1, not {thresholds}")
    return thresholds


class Evaluation:
    """One file of predictions, matched once; every metric reads the same matches.

    Parameters
    ----------
    annotations
        the subset to measure on.
    predictions
        columns video_id, start_s, end_s, label, score.
    tiou
        thresholds in (0, 1].

    Raises
    ------
    EvaluationError
        nothing can be measured (see `build_table`), or a threshold makes no sense.
    """

    def __init__(self, annotations: AnnotationSet, predictions: pd.DataFrame, tiou: Sequence[float]) -> None:
        self.annotations = annotations
        self.predictions = predictions
        self.tiou = check_thresholds(tiou)
        self.table: Table = build_table(annotations, predictions)
        self.pairs: Pairs = candidate_pairs(self.table, min(self.tiou))
        self.matches: list[Match] = match_all(self.table, self.pairs, self.tiou)

    @cached_property
    def ap(self) -> FloatArray:
        """AP by label and threshold, [C, T]."""
        return average_precisions(self.table, self.matches)

    def matched_at(self, tiou: float) -> IntArray:
        """The instance that each prediction finds at one threshold, [P], -1 for none.

        Taken from the evaluation's own matches where the threshold is one of its own.
        """
        if tiou in self.tiou:
            matches = self.matches[self.tiou.index(tiou)]
        else:
            (tiou,) = check_thresholds([tiou])
            pairs = self.pairs if tiou >= min(self.tiou) else candidate_pairs(self.table, tiou)
            matches = match(pairs, tiou, len(self.table.gt_label))
        return matches.dense(len(self.table.pred_label))

    def counts(self) -> dict[str, Any]:
        """How many videos, instances, labels and predictions there are, and which are not counted."""
        table = self.table
        return {
            "videos": len(table.videos),
            "videos_without_ground_truth": len(table.videos) - len(np.unique(table.gt_video)),
            "videos_without_predictions": len(set(range(len(table.videos))) - set(table.pred_video.tolist())),
            "instances": len(table.gt_label),
            "labels": table.num_labels,
            "labels_without_predictions": int((np.diff(table.label_start) == 0).sum()),
            "predictions": len(self.predictions),
            "predictions_of_unknown_labels": sum(table.unknown_labels.values()),
            "predictions_in_unknown_videos": sum(table.unknown_videos.values()),
        }

    def result(self, **extra: Any) -> EvaluationResult:
        """mAP, per-class AP and counts, with ``extra`` beside them."""
        mean = self.ap.mean(axis=0)
        return EvaluationResult(
            tiou=self.tiou,
            mAP=mean.tolist(),
            average_mAP=float(mean.mean()),
            per_class={name: self.ap[c].tolist() for c, name in enumerate(self.table.labels)},
            counts=self.counts(),
            extra=extra,
        )

    def diagnosis(self, protocol: Protocol = PROTOCOLS["generic"], tiou: float = 0.5) -> dict[str, Any]:
        """Error diagnosis after DETAD, see ``tal.metrics.diagnosis``."""
        matched = self.matched_at(tiou)
        return diagnose(self.annotations, self.table, self.matches, self.tiou, protocol, tiou, matched)

    def thresholds(self, tiou: float = 0.5) -> dict[str, float]:
        """Score thresholds of highest F1, by label."""
        return best_thresholds(self.table, self.matched_at(tiou))

    def operating_point(self, threshold: float | Mapping[str, float], tiou: float = 0.5) -> dict[str, Any]:
        """Precision, recall, F1 above a score, one for all or by label."""
        return operating_point(self.table, self.matched_at(tiou), threshold, tiou)

    def recalls(self, protocol: Protocol) -> dict[str, Any]:
        """Video top-1 and, where the protocol has them, Recall@kx and AR@AN."""
        right, videos = video_top1(self.annotations, self.predictions)
        result: dict[str, Any] = {
            "video_top1": {"accuracy": right / videos, "right": right, "videos": videos}
        }
        if protocol.recall_at:
            result["recall_at_kx"] = {
                f"{k}x": recall_at_kx(self.table, self.pairs, self.tiou, k) for k in protocol.recall_at
            }
        if protocol.proposals:
            recall = proposal_recall(self.table, PROTOCOLS["activitynet"].tiou)
            result["proposals"] = {
                "tiou": list(PROTOCOLS["activitynet"].tiou),
                "AR": {str(n): recall.at(n) for n in (1, 5, 10, 50, 100)},
                "AUC": recall.auc,
                "proposals_per_video": recall.proposals_per_video,
                "average_recall": recall.average_recall,
            }
        return result


def evaluate(
    annotations: AnnotationSet, predictions: pd.DataFrame, tiou: Sequence[float]
) -> EvaluationResult:
    """Mean average precision over the labels that have ground truth.

    As the official evaluator: predictions of labels without ground truth do not count; predictions for videos
    without ground truth are false; a label without predictions has AP 0; an instance is found once.

    Parameters
    ----------
    annotations
        the subset to measure on.
    predictions
        columns video_id, start_s, end_s, label, score.
    tiou
        thresholds in (0, 1].

    Raises
    ------
    EvaluationError
        nothing can be measured (see `build_table`), or a threshold makes no sense.
    """
    return Evaluation(annotations, predictions, tiou).result()
