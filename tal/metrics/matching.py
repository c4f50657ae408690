"""Which prediction finds which instance: ActivityNet's rule, for all videos and labels at once.

The official rule walks through a label's predictions by falling score; each takes the instance of its video
with the highest tIoU that is not taken yet, if that tIoU reaches the threshold. So instances all prefer the
higher score and predictions prefer the higher tIoU: the outcome is the one stable matching of the two, and
deferred acceptance (Gale and Shapley 1962) finds it in a few vectorised rounds. Most predictions have a
single candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.metrics.table import FloatArray, IntArray, Table

# Pairs held at once while candidates are gathered: their arrays stay in the processor's cache.
_CHUNK_PAIRS = 65_536
# Up to here a dense (video, label) table is looked up; beyond, a sorted list is searched.
_DENSE_KEYS = 20_000_000


def tiou(a_start: FloatArray, a_end: FloatArray, b_start: FloatArray, b_end: FloatArray) -> FloatArray:
    """Temporal intersection over union, elementwise; 0 where the union is empty.

    The order of operations is the official evaluator's, so that tIoU on the edge of a threshold rounds alike.
    """
    inner = np.minimum(a_end, b_end)
    inner -= np.maximum(a_start, b_start)
    np.maximum(inner, 0.0, out=inner)
    union = (b_end - b_start) + (a_end - a_start)
    union -= inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


@dataclass(frozen=True)
class Pairs:
    """Overlapping (prediction, instance) pairs: ``pred`` and ``gt`` index the table's columns; all [N].

    Sorted by prediction, then falling tIoU, then falling instance number: a prediction's order of preference.
    """

    pred: IntArray
    gt: IntArray
    tiou: FloatArray


@dataclass(frozen=True)
class Match:
    """At one threshold: the predictions that find an instance, ascending, and what each finds; both [N]."""

    pred: IntArray
    gt: IntArray

    def dense(self, num_predictions: int) -> IntArray:
        """The instance of each prediction, [num_predictions], -1 for none."""
        matched = np.full(num_predictions, -1, dtype=np.int64)
        matched[self.pred] = self.gt
        return matched


def candidate_pairs(
    table: Table, min_tiou: float, across_labels: bool = False, only: NDArray[np.bool_] | None = None
) -> Pairs:
    """All pairs in one video (and of one label, unless ``across_labels``) with a tIoU >= ``min_tiou`` > 0.

    ``only`` [P] leaves the other predictions out.
    """
    width = 1 if across_labels else table.num_labels
    gt_key = table.gt_video * width + (0 if across_labels else table.gt_label)
    order = np.argsort(gt_key, kind="stable")
    pred_key = table.pred_video * width + (0 if across_labels else table.pred_label)
    first, count = _spans(gt_key[order], pred_key, len(table.videos) * width)
    usable = (count > 0) & (table.pred_video >= 0)
    if only is not None:
        usable &= only
    pred = np.flatnonzero(usable)
    first, count = first[pred], count[pred]

    ends = np.cumsum(count)
    parts = []
    begin = 0
    while begin < len(pred):
        base = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, base + _CHUNK_PAIRS, "right")))
        part = slice(begin, stop)
        parts.append(_overlapping(table, order, pred[part], first[part], count[part], min_tiou))
        begin = stop
    if not parts:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return _by_preference(*(np.concatenate(p) for p in zip(*parts, strict=True)))


def _spans(keys: IntArray, queries: IntArray, num_keys: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where each of ``queries`` stands in the sorted ``keys``: first position and count."""
    if num_keys > _DENSE_KEYS:
        first = np.searchsorted(keys, queries, "left")
        return first, np.searchsorted(keys, queries, "right") - first
    counts = np.bincount(keys, minlength=num_keys).astype(np.int32)
    starts = np.cumsum(counts, dtype=np.int32) - counts
    # a negative key (unknown video) wraps around; the caller leaves it out
    return starts[queries], counts[queries]


def _overlapping(
    table: Table, order: IntArray, pred: IntArray, first: IntArray, count: IntArray, min_tiou: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of ``pred`` with the instances ``order[first:first + count]`` of each that overlap enough."""
    rows = np.repeat(pred, count)
    shift = first - (np.cumsum(count) - count)
    gt = order[np.arange(len(rows)) + np.repeat(shift, count)]
    overlap = tiou(table.pred_start_s[rows], table.pred_end_s[rows], table.gt_start_s[gt], table.gt_end_s[gt])
    keep = np.flatnonzero((overlap >= min_tiou) & (overlap > 0))
    return rows[keep], gt[keep], overlap[keep]


def _by_preference(pred: IntArray, gt: IntArray, overlap: FloatArray) -> Pairs:
    """Pairs sorted by prediction already -> in each prediction's order of preference."""
    same = pred[1:] == pred[:-1]
    several = np.flatnonzero(np.append(same, False) | np.concatenate(([False], same)))
    if len(several):
        by = several[np.lexsort((-gt[several], -overlap[several], pred[several]))]
        gt[several], overlap[several] = gt[by], overlap[by]
    return Pairs(pred, gt, overlap)


def match(pairs: Pairs, threshold: float, num_instances: int) -> Match:
    """Which prediction finds which instance at one threshold.

    Predictions must be numbered by falling score within a label, as a Table numbers them.
    """
    keep = pairs.tiou >= threshold
    pred, gt = (pairs.pred, pairs.gt) if keep.all() else (pairs.pred[keep], pairs.gt[keep])
    if not len(pred):
        return Match(pred, gt)
    # of a prediction's pairs; and one past the end
    first = np.concatenate(([True], pred[1:] != pred[:-1], [True]))
    holds = np.full(num_instances, len(pred))  # the pair that holds an instance so far
    # Round one: every prediction proposes its favourite. Written backwards, so that of several that want one
    # instance the first, of best score, is what remains.
    asking = np.flatnonzero(first[:-1])
    holds[gt[asking[::-1]]] = asking[::-1]
    asking = asking[~first[asking + 1]]  # those that have a second choice
    asking = asking[holds[gt[asking]] != asking] + 1
    while len(asking):
        proposed = gt[asking]
        before = holds[proposed]
        better = asking[before > asking][::-1]
        holds[gt[better]] = better
        after = holds[proposed]
        outbid = before[(before < len(pred)) & (before != after)]
        again = np.concatenate((asking[after != asking], outbid)) + 1
        asking = np.unique(again[~first[again]])
    held = np.sort(holds[holds < len(pred)])
    return Match(pred[held], gt[held])


def match_all(table: Table, pairs: Pairs, thresholds: Sequence[float]) -> list[Match]:
    """``match`` for several thresholds, in their order."""
    by_threshold: dict[float, Match] = {}
    for threshold in sorted(set(thresholds)):  # what reaches a threshold reached all lower ones
        keep = np.flatnonzero(pairs.tiou >= threshold)
        pairs = Pairs(pairs.pred[keep], pairs.gt[keep], pairs.tiou[keep])
        by_threshold[threshold] = match(pairs, threshold, len(table.gt_label))
    return [by_threshold[t] for t in thresholds]
