"""Ground truth and predictions as integer-coded columns: what every metric works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tal.annotations.builder import first_ids
from tal.annotations.predictions import PREDICTION_COLUMNS
from tal.annotations.types import AnnotationSet
from tal.errors import EvaluationError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Instances g of the ground truth and predictions p, videos and labels as codes.

    Predictions are sorted by label, then by falling score: ``label_start[c]:label_start[c + 1]`` are those of
    label c. Equal scores keep the reverse of the file's order. The official evaluator sorts with
    ``argsort()[::-1]``, whose order among ties is left to chance; its stable reading is the reverse order.

    Shapes: ``gt_*`` [G], ``pred_*`` [P], ``label_start`` [C + 1].
    """

    videos: tuple[str, ...]  # of the ground truth, with or without instances
    labels: tuple[str, ...]  # those with at least one instance
    gt_video: IntArray
    gt_label: IntArray
    gt_start_s: FloatArray
    gt_end_s: FloatArray
    pred_video: IntArray  # -1: a video that the ground truth does not have
    pred_label: IntArray
    pred_start_s: FloatArray
    pred_end_s: FloatArray
    pred_score: FloatArray
    pred_row: IntArray  # row of the DataFrame
    label_start: IntArray
    unknown_labels: dict[str, int]  # label -> predictions, not counted
    unknown_videos: dict[str, int]  # video -> predictions, counted as false

    @property
    def num_labels(self) -> int:
        return len(self.labels)

    def num_instances(self) -> IntArray:
        """Instances of each label, [C]."""
        return np.bincount(self.gt_label, minlength=self.num_labels)


def build_table(annotations: AnnotationSet, predictions: pd.DataFrame) -> Table:
    """Code and sort; the cases in which nothing can be measured are errors.

    Raises
    ------
    EvaluationError
        no ground truth, no predictions, no video or no label in common, scores or times that are not finite.
    """
    missing = [c for c in PREDICTION_COLUMNS if c not in predictions.columns]
    if missing:
        raise EvaluationError(f"predictions lack the columns {missing}; they need {list(PREDICTION_COLUMNS)}")
    videos = tuple(annotations.videos)
    instances = [(v, s) for v, a in enumerate(annotations.videos.values()) for s in a.counted]
    gt_segments = [s for _, s in instances]
    if not instances:
        raise EvaluationError(
            f"no ground truth: {annotations.source or 'the annotations'} has {len(videos)} videos in this "
            f"subset and not one annotated segment ({first_ids(videos) or 'no ids'})"
        )
    if predictions.empty:
        raise EvaluationError(
            f"no predictions for {len(videos)} videos with {len(instances)} annotated segments: "
            f"{first_ids(videos)}"
        )
    labels = tuple(dict.fromkeys([s.label for s in gt_segments]))
    label_code = {name: i for i, name in enumerate(labels)}

    pred_video, unknown_videos = _codes(predictions["video_id"], {name: i for i, name in enumerate(videos)})
    pred_label, unknown_labels = _codes(predictions["label"], label_code)
    if (pred_video < 0).all():
        raise EvaluationError(
            f"no video in common: ground truth has {len(videos)} ({first_ids(videos)}), "
            f"predictions have {len(unknown_videos)} ({first_ids(list(unknown_videos))})"
        )
    if (pred_label < 0).all():
        raise EvaluationError(
            f"no label in common: ground truth has {len(labels)} ({first_ids(labels)}), "
            f"predictions have {len(unknown_labels)} ({first_ids(list(unknown_labels))})"
        )
    start, end, score = (predictions[c].to_numpy(np.float64) for c in ("start_s", "end_s", "score"))
    for name, values in (("start_s", start), ("end_s", end), ("score", score)):
        if not np.isfinite(values).all():
            bad = predictions["video_id"][~np.isfinite(values)].astype(str).tolist()
            raise EvaluationError(
                f"{len(bad)} predictions whose {name} is not a finite number: {first_ids(bad)}"
            )

    rows = by_label_and_score(pred_label, score)
    counts = np.bincount(pred_label[rows], minlength=len(labels))
    return Table(
        videos=videos,
        labels=labels,
        gt_video=np.array([v for v, _ in instances], dtype=np.int64),
        gt_label=np.array([label_code[s.label] for s in gt_segments], dtype=np.int64),
        gt_start_s=np.array([s.start_s for s in gt_segments]),
        gt_end_s=np.array([s.end_s for s in gt_segments]),
        pred_video=pred_video[rows],
        pred_label=pred_label[rows],
        pred_start_s=start[rows],
        pred_end_s=end[rows],
        pred_score=score[rows],
        pred_row=rows,
        label_start=np.concatenate(([0], np.cumsum(counts))),
        unknown_labels=unknown_labels,
        unknown_videos=unknown_videos,
    )


def by_label_and_score(label: IntArray, score: FloatArray) -> IntArray:
    """Rows [n] by label, then falling score, then falling row; rows of label -1 are left out.

    Not a lexsort, because numpy's unstable sort of floats and its radix sort of small integers are five
    times as fast.
    """
    order = np.argsort(-score)
    ranked = score[order]
    tied = np.concatenate(([False], ranked[1:] == ranked[:-1]))
    if tied.any():
        run = np.cumsum(~tied)
        member = tied | np.append(tied[1:], False)
        among = order[member]
        order[member] = among[np.lexsort((-among, run[member]))]
    labels = label[order]
    small = labels.astype(np.int16) if len(labels) and labels.max() < 2**15 else labels
    by = np.argsort(small, kind="stable")
    return order[by[np.count_nonzero(labels < 0) :]]


def _codes(column: pd.Series, codes: dict[str, int]) -> tuple[IntArray, dict[str, int]]:
    """Codes [n] of a column's values, -1 where they have none; and the values without one, counted."""
    categories = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")
    local = categories.cat.codes.to_numpy()
    names: Sequence[str] = [str(v) for v in categories.cat.categories]
    lookup = np.array([codes.get(n, -1) for n in names] + [-1], dtype=np.int64)
    unknown: dict[str, int] = {}
    if (lookup[:-1] < 0).any():
        counts = np.bincount(local[local >= 0], minlength=len(names))
        unknown = {n: int(k) for n, k in zip(names, counts, strict=True) if n not in codes and k}
    return lookup[local], unknown
