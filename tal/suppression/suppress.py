"""Suppression: candidates of one video in, detections out; in seconds or grid units, as given."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.suppression.config import SuppressionConfig
from tal.suppression.greedy import Array, Picks, gaussian, greedy, hard, merging

# Pairs of overlaps computed at once when candidates vote.
_VOTING_BLOCK = 4_000_000


def suppress(
    segments: Tensor, scores: Tensor, labels: Tensor, config: SuppressionConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Detections, best first: segments [n, 2], scores [n], labels [n] -> the same, fewer.

    Semantics are those of the ActionFormer family's post-processing, and for ``nmw`` of TALLFormer's: within
    each class (or over all, without ``multiclass``) candidates are taken best first; then all classes
    together are cut to ``max_segments``. The work is done on the CPU, in float32 or, for float64 segments,
    float64; results keep device and type.
    """
    if len(scores) == 0 or config.method == "none":
        return _best(segments, scores, labels, config.max_segments)
    dtype = np.float64 if segments.dtype == torch.float64 else np.float32
    place: Array = segments.detach().cpu().numpy().astype(dtype, copy=False)
    score: Array = scores.detach().float().cpu().numpy().astype(dtype, copy=False)
    label = labels.detach().cpu().numpy()
    group = label if config.multiclass else np.zeros_like(label)
    picks = _picks(place, score, group, config)
    order = np.argsort(-picks.score, kind="stable")
    order = order[: config.max_segments] if config.max_segments else order
    index, picked_score = picks.index[order], picks.score[order]

    picked = place[index]
    if picks.segment is not None:
        picked = picks.segment[order]
    elif config.voting_threshold > 0 and (config.voting_per_class or not config.multiclass):
        with_iou = config.voting_weight == "score_iou"
        picked = _weighted(place, score, group, index, config.voting_threshold, with_iou)
    return (
        torch.from_numpy(picked).to(segments),
        torch.from_numpy(picked_score).to(scores),
        torch.from_numpy(label[index]).to(labels),
    )


def _picks(place: Array, score: Array, group: NDArray[np.integer], config: SuppressionConfig) -> Picks:
    """The candidates that the method takes, in no order; indices are those of the candidates given."""
    start, end = np.ascontiguousarray(place[:, 0]), np.ascontiguousarray(place[:, 1])
    limit = config.max_segments
    if config.method == "soft_nms":
        return greedy(start, end, score, group, gaussian(config.sigma), config.min_score, limit)
    merge = config.method == "nmw"
    everything = config.min_score == 0 and not merge  # even a score of 0, in the ActionFormer family
    keep = np.arange(len(score)) if everything else np.flatnonzero(score > config.min_score)
    candidates = start[keep], end[keep], score[keep], group[keep]
    if merge:
        # TALLFormer's release adds nothing to lengths; the least number only keeps 0 from being divided by 0
        slack = float(np.finfo(place.dtype).tiny)
        picks = greedy(*candidates, merging(config.iou_threshold), 0.0, limit, slack)
    else:
        picks = greedy(*candidates, hard(config.iou_threshold), 0.0, limit)
    picks.index = keep[picks.index]
    return picks


def _best(segments: Tensor, scores: Tensor, labels: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[:limit] if limit else order
    return segments[order], scores[order], labels[order]


def _weighted(
    place: Array,
    score: Array,
    group: NDArray[np.integer],
    index: NDArray[np.intp],
    threshold: float,
    with_iou: bool,
) -> Array:
    """Each pick's segment, moved by the votes of its group.

    It becomes the mean of the candidates that overlap it by the threshold or more, weighted by their own
    scores, times the overlap when ``with_iou``. A block of picks at a time.
    """
    result = place[index].copy()
    for name in np.unique(group[index]):
        members = np.flatnonzero(group == name)
        picked = np.flatnonzero(group[index] == name)
        start, end = place[members, 0], place[members, 1]
        length = end - start
        step = max(1, _VOTING_BLOCK // len(members))
        for first in range(0, len(picked), step):
            rows = picked[first : first + step]
            row_start, row_end = place[index[rows], 0, None], place[index[rows], 1, None]
            inter = np.maximum(np.minimum(end, row_end) - np.maximum(start, row_start), 0)
            overlap = inter / np.maximum(length + (row_end - row_start) - inter, 1e-12)
            weight = (overlap >= threshold) * score[members]
            if with_iou:
                weight *= overlap
            total = weight.sum(1, keepdims=True)
            mean = (weight / np.where(total > 0, total, 1)) @ place[members]
            result[rows] = np.where(total > 0, mean, result[rows])
    return result
