"""Interpolated average precision as ActivityNet (and VOC since 2010) defines it.

The area under precision (made monotonous from the right) over recall. Recall only grows where a prediction
finds an instance, so precision matters there alone, and everything is computed at those few places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tal.metrics.matching import Match
from tal.metrics.table import FloatArray, IntArray, Table


def average_precisions(table: Table, matches: Sequence[Match]) -> FloatArray:
    """AP of every label at every threshold, [C, T]; 0 for a label without predictions."""
    pred = np.concatenate([m.pred for m in matches])
    threshold = np.repeat(np.arange(len(matches)), [len(m.pred) for m in matches])
    label = table.pred_label[pred]
    group = threshold * table.num_labels + label  # ascending
    num_groups = len(matches) * table.num_labels
    counts = np.bincount(group, minlength=num_groups)
    hits = np.arange(1, len(pred) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    precision = hits / (pred - table.label_start[label] + 1)
    area = np.bincount(group, _monotonous(precision, group, num_groups), num_groups)
    return (area.reshape(len(matches), -1) / table.num_instances()).T


def _monotonous(precision: FloatArray, group: IntArray, num_groups: int) -> FloatArray:
    """Running maximum from the right within each of the ascending groups, [n].

    An offset that grows by 2 per group keeps groups apart; it only chooses the place of each maximum, so
    that the value keeps its last digit.
    """
    raised = (precision + 2.0 * (num_groups - group))[::-1]
    place = np.where(np.maximum.accumulate(raised) == raised, np.arange(len(raised)), 0)
    return precision[::-1][np.maximum.accumulate(place)][::-1]


def weighted_average_precisions(
    table: Table,
    true: IntArray,
    weight: FloatArray,
    instances: FloatArray,
    normal: FloatArray | float | None = None,
) -> FloatArray:
    """AP of every label at one threshold when each prediction counts ``weight`` times; all labels at once.

    A prediction of weight 0 is as good as absent; whole numbers stand for copies, as in bootstrap samples
    of videos.

    Parameters
    ----------
    true
        [N] ascending positions of the predictions that found an instance.
    weight
        [P], of each prediction.
    instances
        [C], the (weighted) instances to be found; labels with 0 get AP 0.
    normal
        instances that precision pretends there were, for AP_N (Hoiem et al. 2012), which compares groups
        of unequal size; None: plain AP.

    Returns
    -------
    AP of every label, [C].
    """
    label = table.pred_label[true]
    cumulative = np.concatenate(([0.0], np.cumsum(weight)))
    counted = cumulative[true + 1] - cumulative[table.label_start[label]]
    hit_weight = weight[true]
    hit_sum = np.concatenate(([0.0], np.cumsum(hit_weight)))
    hits = hit_sum[1:] - hit_sum[np.searchsorted(label, label, "left")]
    pretended = hits
    if normal is not None:
        per_label = np.broadcast_to(np.asarray(normal, dtype=np.float64), instances.shape)
        safe = np.where(instances > 0, instances, 1.0)
        pretended = hits * (per_label / safe)[label]
    below = pretended + (counted - hits)
    precision = np.divide(pretended, below, out=np.zeros_like(below), where=below > 0)
    envelope = _monotonous(precision, label, table.num_labels)
    area = np.bincount(label, hit_weight * envelope, table.num_labels)
    return np.divide(area, instances, out=np.zeros(table.num_labels), where=instances > 0)
