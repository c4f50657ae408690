"""Is one detector better than another, or luck of the videos: a paired bootstrap over videos.

Videos are drawn with replacement, the same ones for both detectors, and average mAP is computed anew. A
video drawn k times counts k times: as weights on predictions and instances that were matched once, which is
what makes a thousand samples a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tal.errors import EvaluationError
from tal.metrics.average_precision import weighted_average_precisions
from tal.metrics.evaluate import Evaluation
from tal.metrics.table import FloatArray


@dataclass(frozen=True)
class Comparison:
    """Average mAP of A and B (means of several trainings) and the samples' difference B − A; fractions."""

    average_mAP_a: float
    average_mAP_b: float
    low: float  # 95 % interval of the difference
    high: float
    p_value: float  # two-sided: how often the samples' difference lies on the other side of 0
    samples: int
    seed: int

    @property
    def difference(self) -> float:
        """B - A."""
        return self.average_mAP_b - self.average_mAP_a

    def to_json(self) -> dict[str, Any]:
        """The fields and the difference as JSON values."""
        return {
            "average_mAP_a": self.average_mAP_a,
            "average_mAP_b": self.average_mAP_b,
            "difference": self.difference,
            "interval_95": [self.low, self.high],
            "p_value": self.p_value,
            "samples": self.samples,
            "seed": self.seed,
        }


def paired_bootstrap(
    a: Evaluation | Sequence[Evaluation],
    b: Evaluation | Sequence[Evaluation],
    samples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two detectors on the same ground truth.

    A side may be several trainings of one method (other seeds): its value is their mean, and each sample
    draws among them too, with replacement, so that the interval holds the luck of the seeds as well as that
    of the videos. Labels without an instance in a sample are left out of that sample's mean. Predictions in
    unknown videos are in every sample once.

    Raises
    ------
    EvaluationError
        the two do not share ground truth and thresholds, or there are fewer than two videos.
    """
    left, right = _as_runs(a), _as_runs(b)
    first = left[0]
    for run in (*left, *right):
        if (run.tiou, run.table.videos, run.table.labels) != (
            first.tiou,
            first.table.videos,
            first.table.labels,
        ):
            raise EvaluationError(
                "the evaluations differ in ground truth or tIoU thresholds: nothing to pair"
            )
    if samples < 1:
        raise EvaluationError(f"a bootstrap needs at least 1 sample, got {samples}")
    with_truth = np.unique(first.table.gt_video)
    if len(with_truth) < 2:
        raise EvaluationError("a bootstrap over videos needs at least two videos with ground truth")
    rng = np.random.default_rng(seed)
    num_videos = len(first.table.videos)
    differences = np.empty(samples)
    for i in range(samples):
        times = _draw(rng, num_videos)
        while not times[with_truth].any():  # nothing to find in this sample: draw another
            times = _draw(rng, num_videos)
        differences[i] = _sampled_mean(rng, right, times) - _sampled_mean(rng, left, times)
    low, high = np.quantile(differences, (0.025, 0.975))
    # one more on each side: a p-value of 0 would claim more than the samples can show
    sides = ((differences <= 0).sum() + 1, (differences >= 0).sum() + 1)
    return Comparison(
        average_mAP_a=float(np.mean([run.ap.mean() for run in left])),
        average_mAP_b=float(np.mean([run.ap.mean() for run in right])),
        low=float(low),
        high=float(high),
        p_value=float(min(1.0, 2 * min(sides) / (samples + 1))),
        samples=samples,
        seed=seed,
    )


def _as_runs(side: Evaluation | Sequence[Evaluation]) -> list[Evaluation]:
    runs = [side] if isinstance(side, Evaluation) else list(side)
    if not runs:
        raise EvaluationError("a side without an evaluation: nothing to pair")
    return runs


def _sampled_mean(rng: np.random.Generator, runs: Sequence[Evaluation], times: FloatArray) -> float:
    """Mean average mAP of runs drawn with replacement, as many as there are."""
    if len(runs) == 1:
        return weighted_average_map(runs[0], times)
    drawn = np.bincount(rng.integers(0, len(runs), len(runs)), minlength=len(runs))
    return float(
        sum(n * weighted_average_map(run, times) for n, run in zip(drawn, runs, strict=True) if n) / len(runs)
    )


def _draw(rng: np.random.Generator, num_videos: int) -> FloatArray:
    """How often each video is drawn, [V]."""
    drawn = rng.integers(0, num_videos, num_videos)
    return np.bincount(drawn, minlength=num_videos).astype(np.float64)


def weighted_average_map(run: Evaluation, times: FloatArray) -> float:
    """Average mAP when video v counts ``times[v]`` times, [V]."""
    table = run.table
    weight = np.append(times, 1.0)[table.pred_video]  # unknown videos are -1: the last entry
    instances = np.bincount(table.gt_label, times[table.gt_video], table.num_labels).astype(np.float64)
    counted = instances > 0
    values = [
        weighted_average_precisions(table, m.pred, weight, instances)[counted].mean() for m in run.matches
    ]
    return float(np.mean(values))
