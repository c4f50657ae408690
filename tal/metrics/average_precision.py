"""Interpolated average precision as ActivityNet (and VOC since 2010) defines it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tal.metrics.table import FloatArray, IntArray, Table


def average_precision(true: NDArray[np.bool_], num_instances: int) -> FloatArray:
    """AP of one label at several thresholds.

    Args:
        true: [T, n], whether a prediction found an instance; by falling score.
        num_instances: annotated instances of the label, > 0.

    Returns:
        [T]: the area under precision, made monotonous from the right, over recall.
    """
    if true.shape[1] == 0:
        return np.zeros(len(true))
    precision = np.cumsum(true, axis=1) / np.arange(1, true.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.where(true, envelope, 0.0).sum(axis=1) / num_instances


def average_precisions(table: Table, matches: IntArray) -> FloatArray:
    """AP of every label, [C, T], from matches [T, P]; 0 for a label without predictions."""
    instances = table.num_instances()
    true = matches >= 0
    ap = np.zeros((table.num_labels, len(matches)))
    for c in range(table.num_labels):
        part = true[:, table.label_start[c] : table.label_start[c + 1]]
        ap[c] = average_precision(part, int(instances[c]))
    return ap


def weighted_average_precisions(
    table: Table,
    true: IntArray,
    weight: FloatArray,
    instances: FloatArray,
    normal: FloatArray | float | None = None,
) -> FloatArray:
    """AP of every label at one threshold when each prediction counts ``weight`` times; all labels at once.

    A prediction of weight 0 is as good as absent; whole numbers stand for copies (bootstrap samples of videos).

    Args:
        true: [N] ascending positions of the predictions that found an instance.
        weight: [P].
        instances: [C], the (weighted) instances to be found; labels with 0 get AP 0.
        normal: instances that precision pretends there were, for AP_N (Hoiem et al. 2012), which compares groups of
            unequal size; None: plain AP.

    Returns:
        [C].
    """
    label = table.pred_label[true]
    cumulative = np.concatenate(([0.0], np.cumsum(weight)))
    seen = cumulative[true + 1] - cumulative[table.label_start[label]]
    hit_weight = weight[true]
    hit_sum = np.concatenate(([0.0], np.cumsum(hit_weight)))
    hits = hit_sum[1:] - hit_sum[np.searchsorted(label, label, "left")]
    pretended = hits
    if normal is not None:
        per_label = np.broadcast_to(np.asarray(normal, dtype=np.float64), instances.shape)
        safe = np.where(instances > 0, instances, 1.0)
        pretended = hits * (per_label / safe)[label]
    below = pretended + (seen - hits)
    precision = np.divide(pretended, below, out=np.zeros_like(below), where=below > 0)
    # running maximum from the right within each label: an offset that grows by 2 a label keeps labels apart
    offset = 2.0 * (table.num_labels - label)
    envelope = np.maximum.accumulate((precision + offset)[::-1])[::-1] - offset
    area = np.bincount(label, hit_weight * envelope, table.num_labels)
    return np.divide(area, instances, out=np.zeros(table.num_labels), where=instances > 0)
