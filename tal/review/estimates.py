"""Precision and recall of all time, from the random stretches that were reviewed.

Doubtful stretches are chosen because the model errs there, so only those drawn by chance say something of the
rest. A detection or an action belongs to the stretch that holds its middle. Each share is a ratio of two
totals weighted by 1/probability (Hansen and Hurwitz 1943), with the variance between stretches of the ratio
estimator (Cochran, Sampling Techniques, 1977, chapter 6), and Wilson's interval at the number of independent
ones that would vary as much (Korn and Graubard 1998; Franco et al. 2019).

Not a bootstrap over stretches: where nearly all detections are right most resamples hold no error, and its
interval missed the truth in 15 to 70 of 100 simulated reviews of 20 to 40 stretches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tal.annotations import prediction_frame
from tal.annotations.corrections import Corrections
from tal.annotations.spans import Span, covers, subtract, total_s
from tal.errors import EvaluationError
from tal.metrics.matching import candidate_pairs, match
from tal.metrics.table import build_table
from tal.review.doubts import Detections, Thresholds

FloatArray = NDArray[np.float64]

# With fewer reviewed random stretches that hold one, nothing is said of all detections, or actions.
ENOUGH = 10
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A share in [0, 1] and its interval of 95 %; ``stretches``: reviewed random ones that say something."""

    value: float
    low: float
    high: float
    stretches: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"value": self.value, "interval_95": [self.low, self.high], "stretches": self.stretches}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of all time from what was reviewed.

    Attributes
    ----------
    reviewed_s, total_s
        seconds.
    drawn, seen
        random stretches, and those of them that were reviewed.
    precision, recall
        of all detections and of all actions; None: too few random stretches.
    right, judged
        detections in reviewed time, and the right ones among them: "among reviewed", not among all.
    """

    reviewed_s: float
    total_s: float
    drawn: int
    seen: int
    precision: Interval | None
    recall: Interval | None
    right: int
    judged: int

    @property
    def among_reviewed(self) -> float | None:
        """The right share of the detections in reviewed time; None where there are none."""
        return self.right / self.judged if self.judged else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not known is null."""
        return {
            "reviewed_s": self.reviewed_s,
            "total_s": self.total_s,
            "random_stretches": {"drawn": self.drawn, "reviewed": self.seen},
            "precision": self.precision and self.precision.to_json(),
            "recall": self.recall and self.recall.to_json(),
            "among_reviewed": {
                "right": self.right,
                "judged": self.judged,
                "precision": self.among_reviewed,
            },
        }


def estimate(
    predictions: pd.DataFrame,
    durations: Mapping[str, float],
    thresholds: Thresholds,
    corrections: Corrections,
    tiou: float = 0.5,
    enough: int = ENOUGH,
) -> Estimate:
    """Precision and recall of the detections that pass ``thresholds``.

    Parameters
    ----------
    predictions
        columns video_id, start_s, end_s, label, score; ids as in ``corrections``.
    durations
        seconds of every video that can be reviewed.
    tiou
        overlap from which a detection is right, matched by ActivityNet's rule; at least 0.5, so that what it
        finds holds its middle, and is known where that was reviewed.
    enough
        reviewed random stretches with a detection (an action) that an estimate needs.

    Raises
    ------
    EvaluationError
        the overlap is below 0.5.
    """
    if not 0.5 <= tiou <= 1:
        raise EvaluationError(f"an overlap of {tiou:g}: precision and recall of a review need 0.5 to 1")
    reviewed = {v: corrections.videos[v].reviewed if v in corrections.videos else () for v in durations}
    ours = predictions[predictions["video_id"].astype(str).isin(list(durations))]
    found, known = _judged(ours, thresholds, corrections, tiou)
    drawn = [(v, s) for v in durations if v in corrections.videos for s in corrections.videos[v].sampled]
    seen = [(v, s) for v, s in drawn if covers(reviewed[v], (s.start_s, s.end_s))]
    spans = [(v, (s.start_s, s.end_s)) for v, s in seen]
    weight = np.array([1 / s.probability for _, s in seen])
    in_reviewed = [(v, span) for v, all_spans in reviewed.items() for span in all_spans]
    right, judged = (int(part.sum()) for part in found.counts(in_reviewed))
    return Estimate(
        reviewed_s=sum(
            total_s(subtract((0.0, d), subtract((0.0, d), reviewed[v]))) for v, d in durations.items()
        ),
        total_s=float(sum(durations.values())),
        drawn=len(drawn),
        seen=len(seen),
        precision=share(*found.counts(spans), weight, enough),
        recall=share(*known.counts(spans), weight, enough),
        right=right,
        judged=judged,
    )


class _Judged:
    """Segments of all videos by their middles, and which are right (detections) or found (actions)."""

    def __init__(self, video: NDArray[Any], middle_s: FloatArray, good: NDArray[np.bool_]) -> None:
        self._places: dict[str, tuple[FloatArray, NDArray[np.int64]]] = {}
        order = np.argsort(middle_s, kind="stable")
        rows: dict[str, list[int]] = {}
        for i in order.tolist():
            rows.setdefault(str(video[i]), []).append(i)
        for name, places in rows.items():
            self._places[name] = middle_s[places], np.concatenate(([0], np.cumsum(good[places])))

    def counts(self, spans: list[tuple[str, Span]]) -> tuple[FloatArray, FloatArray]:
        """Right ones and all of each stretch, both [n]."""
        nothing = np.zeros(0), np.zeros(1, np.int64)
        right, every = np.zeros(len(spans)), np.zeros(len(spans))
        for k, (video, span) in enumerate(spans):
            middles, sums = self._places.get(video, nothing)
            first, last = np.searchsorted(middles, span)
            right[k], every[k] = sums[last] - sums[first], last - first
        return right, every


def _judged(
    predictions: pd.DataFrame, thresholds: Thresholds, corrections: Corrections, tiou: float
) -> tuple[_Judged, _Judged]:
    """Detections that count and which are right; true actions and which are found."""
    every = Detections(predictions, thresholds)
    rows = np.flatnonzero(every.shown)
    video = every.video[rows]
    start, end = every.start_s[rows], every.end_s[rows]
    right = np.zeros(len(rows), dtype=bool)
    truth = [(v.id, a.segment) for v in corrections.videos.values() for a in v.actions]
    names = np.array([name for name, _ in truth], dtype=object)
    middles = np.array([(s.start_s + s.end_s) / 2 for _, s in truth])
    hit = np.zeros(len(truth), dtype=bool)
    label, score = every.label[rows], every.score[rows]
    videos, labels = set(names.tolist()), {segment.label for _, segment in truth}
    comparable = np.array([k for k in range(len(rows)) if video[k] in videos and label[k] in labels], int)
    if len(comparable):  # the others find nothing
        columns = (part[comparable] for part in (video, start, end, label, score))
        table = build_table(corrections.annotations(), prediction_frame(*columns))
        names = np.array(table.videos, dtype=object)[table.gt_video]
        middles = (table.gt_start_s + table.gt_end_s) / 2
        pairs = match(candidate_pairs(table, tiou), tiou, len(table.gt_label))
        right[comparable[table.pred_row[pairs.pred]]] = True
        hit = np.zeros(len(names), dtype=bool)
        hit[pairs.gt] = True
    return _Judged(video, (start + end) / 2, right), _Judged(names, middles, hit)


def share(part: FloatArray, whole: FloatArray, weight: FloatArray, enough: int) -> Interval | None:
    """Total of ``part`` by total of ``whole``, both by stretch, [n]; None with too few that hold any.

    Stretches count as independent draws: where they are a good part of all time, the interval is too wide.
    """
    holding = int((whole > 0).sum())
    if holding < max(enough, 1):
        return None
    total = float(weight @ whole)
    value = float(weight @ part) / total
    number = len(whole)
    residual = weight * (part - value * whole)
    variance = number / max(number - 1, 1) * float(residual @ residual) / total**2
    # all right, or all wrong: their stretches count, not each of them
    effective = float(holding) if variance == 0 else value * (1 - value) / variance
    effective = min(max(effective, 1.0), float(whole.sum()))
    low, high = wilson(value, effective, t_quantile(holding - 1))
    return Interval(value, low, high, holding)


def wilson(value: float, number: float, z: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share seen among ``number`` independent ones."""
    spread = z * math.sqrt(value * (1 - value) / number + z**2 / (4 * number**2))
    middle, scale = value + z**2 / (2 * number), 1 + z**2 / number
    # the share itself lies inside: rounding would leave 0 and 1 out
    return max(0.0, min(value, (middle - spread) / scale)), min(1.0, max(value, (middle + spread) / scale))


def t_quantile(freedom: int) -> float:
    """Student's t of 97.5 %, by its expansion around the normal (Abramowitz and Stegun 26.7.5)."""
    z, n = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2), max(freedom, 1)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
