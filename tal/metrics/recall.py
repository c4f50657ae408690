"""Recall without regard to precision: AR@AN of proposals, Recall@kx of detections, top-1 of whole videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tal.annotations.types import AnnotationSet
from tal.metrics.matching import Pairs, candidate_pairs
from tal.metrics.table import FloatArray, IntArray, Table

_NEVER = np.iinfo(np.int64).max
_MAX_AVERAGE = 100  # proposals per video where the curve ends, as in ActivityNet's evaluator


def rank_in_group(group: IntArray, score: FloatArray, row: IntArray) -> IntArray:
    """Rank [n] by falling score within equal ``group``; among equal scores the later ``row`` comes first."""
    order = np.lexsort((-row, -score, group))
    sorted_group = group[order]
    first = np.flatnonzero(np.concatenate(([True], sorted_group[1:] != sorted_group[:-1])))
    size = np.diff(np.concatenate((first, [len(order)])))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(first, size)
    return rank


def first_hits(pairs: Pairs, rank: IntArray, num_instances: int, thresholds: Sequence[float]) -> IntArray:
    """Best rank of any prediction that overlaps an instance enough, [T, G]; a huge number for none."""
    hits = np.full((len(thresholds), num_instances), _NEVER)
    for i, threshold in enumerate(thresholds):
        keep = pairs.tiou >= threshold
        np.minimum.at(hits[i], pairs.gt[keep], rank[pairs.pred[keep]])
    return hits


@dataclass(frozen=True)
class ProposalRecall:
    """Average recall against the average number of proposals per video (ActivityNet's proposal task)."""

    proposals_per_video: list[float]  # 100 points
    average_recall: list[float]
    auc: float  # area under the curve / its width, a fraction

    def at(self, number: float) -> float:
        """AR@number, by linear interpolation; the last point where there are fewer proposals."""
        return float(np.interp(number, self.proposals_per_video, self.average_recall))


def proposal_recall(table: Table, thresholds: Sequence[float]) -> ProposalRecall:
    """AR@AN, labels disregarded.

    As the official evaluator: each video may use the same share of its proposals, by falling score, so that
    the average over videos with ground truth is AN = 1, 2, … 100. Recall is the mean
    over the thresholds.
    """
    videos = np.unique(table.gt_video)
    pairs = candidate_pairs(table, min(thresholds), across_labels=True)
    rank = rank_in_group(table.pred_video, table.pred_score, table.pred_row)
    hits = first_hits(pairs, rank, len(table.gt_label), thresholds)
    size = np.bincount(table.pred_video[table.pred_video >= 0], minlength=len(table.videos))
    total = size[videos].sum()
    if not total:
        return ProposalRecall([0.0] * 100, [0.0] * 100, 0.0)
    kept = np.minimum((size * (_MAX_AVERAGE * len(videos) / total)).astype(np.int64), size)
    total_kept = max(int(kept[videos].sum()), 1)
    shares = np.arange(1, 101) / 100.0 * (_MAX_AVERAGE * len(videos) / total_kept)
    recall = np.zeros(100)
    for j, share in enumerate(shares):
        allowed = np.minimum((kept * share).astype(np.int64), kept)
        recall[j] = (hits < allowed[table.gt_video]).mean()
    numbers = shares * (total_kept / len(videos))
    area = ((recall[1:] + recall[:-1]) / 2 * np.diff(numbers)).sum()
    return ProposalRecall(numbers.tolist(), recall.tolist(), float(area / numbers[-1]))


def recall_at_kx(table: Table, pairs: Pairs, thresholds: Sequence[float], k: int) -> list[float]:
    """Recall@kx by threshold, as Ego4D's moment queries are measured.

    The mean over labels of the share of instances that one of the k * n best predictions of their label
    overlaps enough, n being the label's instances in that video.
    """
    group = table.pred_video * table.num_labels + table.pred_label
    rank = rank_in_group(group, table.pred_score, table.pred_row)
    hits = first_hits(pairs, rank, len(table.gt_label), thresholds)
    key = table.gt_video * table.num_labels + table.gt_label
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    recalled = hits < k * counts[inverse]  # [T, G]
    instances = table.num_instances()
    per_label = [np.bincount(table.gt_label, row, table.num_labels) / instances for row in recalled]
    return [float(r.mean()) for r in per_label]


def video_top1(annotations: AnnotationSet, predictions: pd.DataFrame) -> tuple[int, int]:
    """Videos whose best-scored prediction carries one of their labels, and videos with ground truth."""
    labels = {name: {s.label for s in v.counted} for name, v in annotations.videos.items() if v.counted}
    best = predictions.iloc[::-1].sort_values("score", ascending=False, kind="stable")
    best = best.drop_duplicates("video_id")
    pairs = zip(best["video_id"].astype(str), best["label"].astype(str), strict=True)
    right = sum(label in labels.get(video, ()) for video, label in pairs)
    return right, len(labels)
