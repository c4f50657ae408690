"""Precision, recall and F1 of the predictions above a score, and how to choose that score.

A label's predictions take their instances by falling score, so leaving out the tail changes no earlier
match: every threshold's numbers are one point of the same cumulative sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tal.annotations.types import AnnotationSet
from tal.metrics.matching import candidate_pairs, match
from tal.metrics.table import FloatArray, IntArray, Table, build_table


def calibrate(annotations: AnnotationSet, predictions: pd.DataFrame, tiou: float = 0.5) -> dict[str, float]:
    """Score thresholds, one per label, of the highest F1 at ``tiou``; choose them on a validation set.

    A label that no prediction finds takes the threshold that is best for all labels together. A threshold
    lies midway between the last score accepted and the next lower one.

    Raises
    ------
    EvaluationError
        nothing can be measured.
    """
    table = build_table(annotations, predictions)
    matches = match(candidate_pairs(table, tiou), tiou, len(table.gt_label))
    return best_thresholds(table, matches.dense(len(table.pred_label)))


def best_thresholds(table: Table, matched: IntArray) -> dict[str, float]:
    """`calibrate` with the matches at hand: ``matched`` [P] is the instance of each prediction, or -1."""
    instances = table.num_instances()
    everywhere = _best(table.pred_score, matched >= 0, int(instances.sum()))
    fallback = float(table.pred_score.max()) if everywhere is None else everywhere
    thresholds = {}
    for c, name in enumerate(table.labels):
        part = slice(table.label_start[c], table.label_start[c + 1])
        best = _best(table.pred_score[part], matched[part] >= 0, int(instances[c]))
        thresholds[name] = fallback if best is None else best
    return thresholds


def _best(score: FloatArray, true: np.ndarray, num_instances: int) -> float | None:
    """The threshold of highest F1, the highest such; None when nothing is true."""
    if not true.any():
        return None
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], np.cumsum(true[order])
    f1 = 2 * hits / (np.arange(1, len(score) + 1) + num_instances)
    # equal scores stand or fall together: only the last of them is a point one can choose
    last = np.append(score[1:] != score[:-1], True)
    i = int(np.argmax(np.where(last, f1, -1.0)))
    following = score[i + 1] if i + 1 < len(score) else score[i]
    middle = (score[i] + following) / 2
    return float(middle if middle > following or following == score[i] else score[i])


def operating_point(
    table: Table, matched: IntArray, threshold: float | Mapping[str, float], tiou: float
) -> dict[str, Any]:
    """Counts, precision, recall and F1 of the predictions that reach ``threshold`` (one, or by label).

    Parameters
    ----------
    matched
        the instance that each prediction found at ``tiou``, [P], -1 for none.

    Returns
    -------
    A dictionary: ``micro`` over all instances, ``macro`` the mean over labels, ``per_class``. A precision
    without any prediction is 0.
    """
    instances = table.num_instances()
    if isinstance(threshold, Mapping):
        floor = np.array([threshold.get(name, 0.0) for name in table.labels])
    else:
        floor = np.full(table.num_labels, float(threshold))
    kept = table.pred_score >= floor[table.pred_label]
    predicted = np.bincount(table.pred_label[kept], minlength=table.num_labels)
    hits = np.bincount(table.pred_label[kept & (matched >= 0)], minlength=table.num_labels)
    per_class = {
        name: {"threshold": float(floor[c]), **_scores(int(hits[c]), int(predicted[c]), int(instances[c]))}
        for c, name in enumerate(table.labels)
    }
    keys = ("precision", "recall", "f1")
    return {
        "tiou": tiou,
        "micro": _scores(int(hits.sum()), int(predicted.sum()), int(instances.sum())),
        "macro": {k: float(np.mean([p[k] for p in per_class.values()])) for k in keys},
        "per_class": per_class,
    }


def _scores(hits: int, predicted: int, instances: int) -> dict[str, Any]:
    return {
        "true": hits,
        "false": predicted - hits,
        "missed": instances - hits,
        "precision": hits / predicted if predicted else 0.0,
        "recall": hits / instances,
        "f1": 2 * hits / (predicted + instances),
    }


def precision_recall_curve(
    table: Table, matched: IntArray, label: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Recall and precision [n] along falling score, of one label or of all together.

    ``matched`` [P] is the instance of each prediction, or -1.
    """
    part = slice(None) if label is None else slice(table.label_start[label], table.label_start[label + 1])
    order = np.argsort(-table.pred_score[part], kind="stable")
    hits = np.cumsum(matched[part][order] >= 0)
    total = len(table.gt_label) if label is None else int(table.num_instances()[label])
    return hits / total, hits / np.arange(1, len(hits) + 1)
