"""Which detections of one video are right: the evaluator's matches, for pictures and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tal.annotations.types import AnnotationSet, Segment, VideoAnnotation
from tal.metrics.matching import candidate_pairs, match
from tal.metrics.table import build_table


def judge(predictions: pd.DataFrame, ground_truth: Sequence[Segment] | None, tiou: float) -> pd.DataFrame:
    """Detections of one video, best first, with a column ``right``.

    Parameters
    ----------
    predictions
        columns start_s, end_s, label, score of one video.
    ground_truth
        its annotated segments; None where there is no annotation.
    tiou
        overlap from which a detection finds an instance, in (0, 1].

    Returns
    -------
    The rows by falling score; ``right`` is a bool, or None for all without ground truth.
    """
    order = np.argsort(-predictions["score"].to_numpy(np.float64), kind="stable")
    if ground_truth is None:
        return predictions.iloc[order].assign(right=None).reset_index(drop=True)
    right = np.zeros(len(predictions), dtype=bool)
    labels = {segment.label for segment in ground_truth}
    if labels & set(predictions["label"].astype(str)):
        video = VideoAnnotation("", "", tuple(ground_truth))
        table = build_table(AnnotationSet({"": video}, tuple(labels)), predictions.assign(video_id=""))
        matches = match(candidate_pairs(table, tiou), tiou, len(table.gt_label))
        right[table.pred_row[matches.pred]] = True
    return predictions.iloc[order].assign(right=right[order]).reset_index(drop=True)
