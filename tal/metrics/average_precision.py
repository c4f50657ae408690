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
