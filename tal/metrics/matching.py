"""Which prediction finds which instance: ActivityNet's rule, for all videos, labels and thresholds at once.

The official rule walks through a label's predictions by falling score; each takes the instance of its video with the
highest tIoU that is not taken yet, if that tIoU reaches the threshold. So instances all prefer the higher score and
predictions prefer the higher tIoU: the outcome is the one stable matching of the two, and deferred acceptance
(Gale and Shapley 1962) finds it in a few vectorised rounds. Nearly all predictions have a single candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.metrics.table import FloatArray, IntArray, Table

# Pairs held at once while candidates are gathered: about 200 MB.
_CHUNK_PAIRS = 2_000_000


def tiou(a_start: FloatArray, a_end: FloatArray, b_start: FloatArray, b_end: FloatArray) -> FloatArray:
    """Temporal intersection over union, elementwise; 0 where the union is empty.

    The order of operations is the official evaluator's, so that tIoU on the edge of a threshold rounds alike.
    """
    inner = np.clip(np.minimum(a_end, b_end) - np.maximum(a_start, b_start), 0, None)
    union = (b_end - b_start) + (a_end - a_start) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


@dataclass(frozen=True)
class Pairs:
    """Overlapping (prediction, instance) pairs: ``pred`` and ``gt`` index the table's columns; all [N].

    Sorted by prediction, then falling tIoU, then falling instance number.
    """

    pred: IntArray
    gt: IntArray
    tiou: FloatArray


def candidate_pairs(
    table: Table, min_tiou: float, across_labels: bool = False, only: NDArray[np.bool_] | None = None
) -> Pairs:
    """All pairs in one video (and of one label, unless ``across_labels``) with a tIoU >= ``min_tiou`` > 0.

    ``only`` [P] leaves the other predictions out.
    """
    width = 1 if across_labels else table.num_labels
    gt_key = table.gt_video * width + (0 if across_labels else table.gt_label)
    order = np.argsort(gt_key, kind="stable")
    keys = gt_key[order]
    pred_key = table.pred_video * width + (0 if across_labels else table.pred_label)
    first = np.searchsorted(keys, pred_key, "left")
    count = np.searchsorted(keys, pred_key, "right") - first
    count[table.pred_video < 0] = 0
    if only is not None:
        count[~only] = 0

    parts: list[tuple[IntArray, IntArray, FloatArray]] = []
    ends = np.cumsum(count)
    begin = 0
    while begin < len(count):
        base = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, base + _CHUNK_PAIRS, "right")))
        parts.append(_pairs_of(table, order, first, count, begin, stop, min_tiou))
        begin = stop
    pred, gt, overlap = (np.concatenate(p) for p in zip(*parts, strict=True))
    by = np.lexsort((-gt, -overlap, pred))
    return Pairs(pred[by], gt[by], overlap[by])


def _pairs_of(
    table: Table, order: IntArray, first: IntArray, count: IntArray, begin: int, stop: int, min_tiou: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of the predictions begin:stop; ``first`` and ``count`` say which of ``order`` are theirs."""
    n = count[begin:stop]
    pred = np.repeat(np.arange(begin, stop), n)
    within = np.arange(len(pred)) - np.repeat(np.cumsum(n) - n, n)
    gt = order[first[pred] + within]
    overlap = tiou(table.pred_start_s[pred], table.pred_end_s[pred], table.gt_start_s[gt], table.gt_end_s[gt])
    keep = (overlap >= min_tiou) & (overlap > 0)
    return pred[keep], gt[keep], overlap[keep]


def match(pairs: Pairs, threshold: float, num_predictions: int, num_instances: int) -> IntArray:
    """The instance that each prediction finds at one threshold, [num_predictions], -1 for none.

    Predictions must be numbered by falling score within a label, as a Table numbers them.
    """
    found = np.full(num_predictions, -1, dtype=np.int64)
    keep = pairs.tiou >= threshold
    pred, gt = pairs.pred[keep], pairs.gt[keep]
    if not len(pred):
        return found
    holder = np.full(num_instances, num_predictions, dtype=np.int64)  # best prediction of an instance so far
    start = np.flatnonzero(np.concatenate(([True], pred[1:] != pred[:-1])))
    stop = np.concatenate((start[1:], [len(pred)]))
    at, end = start, stop  # of the predictions still looking: the pair they propose next
    slot = np.full(num_predictions, -1, dtype=np.int64)  # prediction -> its entry of start / stop
    slot[pred[start]] = np.arange(len(start))
    while len(at):
        wanted, who = gt[at], pred[at]
        before = holder[wanted]
        np.minimum.at(holder, wanted, who)
        lost = holder[wanted] != who
        # a holder that was outbid goes on from the pair that follows the one it held
        outbid = np.unique(before[(before < num_predictions) & (before != holder[wanted])])
        again = found[outbid]
        found[outbid] = -1
        found[who[~lost]] = at[~lost]
        at, end = (
            np.concatenate((at[lost] + 1, again + 1)),
            np.concatenate((end[lost], stop[slot[outbid]])),
        )
        go_on = at < end
        at, end = at[go_on], end[go_on]
    took = found >= 0
    found[took] = gt[found[took]]
    return found


def match_all(table: Table, pairs: Pairs, thresholds: Sequence[float]) -> IntArray:
    """``match`` for several thresholds, [T, P]."""
    return np.stack([match(pairs, t, len(table.pred_label), len(table.gt_label)) for t in thresholds])
