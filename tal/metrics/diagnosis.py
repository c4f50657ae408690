"""Where detections go wrong, after DETAD (Alwassel et al., ECCV 2018).

False positives by kind and what each kind costs; false negatives and AP by length, coverage and number of
instances. All of it looks at the 10 G best predictions of each label, G being the label's instances; matches
and AP come from the evaluation's own pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.types import AnnotationSet
from tal.metrics.average_precision import weighted_average_precisions
from tal.metrics.matching import Match, candidate_pairs
from tal.metrics.protocols import BUCKET_NAMES, Protocol
from tal.metrics.table import FloatArray, IntArray, Table

ERROR_KINDS = (
    "true positive",
    "double detection",
    "localization",
    "wrong label",
    "confusion",
    "background",
)
_TRUE, _DOUBLE, _LOCALIZATION, _WRONG_LABEL, _CONFUSION, _BACKGROUND = range(len(ERROR_KINDS))

# Less overlap than this does not count as overlap (DETAD's lower bound).
_LOW_TIOU = 0.1
_LIMIT = 10


@dataclass(frozen=True)
class Overlaps:
    """Best tIoU of each prediction with an instance of its own label and of any other; both [P]."""

    same: FloatArray
    other: FloatArray


def best_overlaps(table: Table, looked_at: NDArray[np.bool_]) -> Overlaps:
    """Overlaps of the predictions ``looked_at`` [P]; 0 for the others."""
    pairs = candidate_pairs(table, _LOW_TIOU, across_labels=True, only=looked_at)
    own = table.pred_label[pairs.pred] == table.gt_label[pairs.gt]
    same, other = np.zeros(len(table.pred_label)), np.zeros(len(table.pred_label))
    np.maximum.at(same, pairs.pred[own], pairs.tiou[own])
    np.maximum.at(other, pairs.pred[~own], pairs.tiou[~own])
    return Overlaps(same, other)


def error_kinds(matched: IntArray, overlaps: Overlaps, tiou: float) -> IntArray:
    """Index into ERROR_KINDS of each prediction, [P].

    In this order: it found an instance; it reaches ``tiou`` with an instance of its label that a better one
    took (double detection); else the instance it overlaps most decides: of its label (localization), of
    another label with at least ``tiou`` (wrong label) or less (confusion); under 0.1 with all (background).

    Parameters
    ----------
    matched
        the instance that each prediction found at ``tiou``, [P], -1 for none.
    """
    kinds = np.full(len(matched), _BACKGROUND)
    nearer_other = overlaps.other > overlaps.same
    kinds[nearer_other & (overlaps.other >= _LOW_TIOU)] = _CONFUSION
    kinds[nearer_other & (overlaps.other >= tiou)] = _WRONG_LABEL
    kinds[~nearer_other & (overlaps.same >= _LOW_TIOU)] = _LOCALIZATION
    kinds[overlaps.same >= tiou] = _DOUBLE
    kinds[matched >= 0] = _TRUE
    return kinds


def diagnose(
    annotations: AnnotationSet,
    table: Table,
    matches: Sequence[Match],
    thresholds: Sequence[float],
    protocol: Protocol,
    tiou: float,
    matched: IntArray,
) -> dict[str, Any]:
    """False-positive profile, false negatives and sensitivity.

    Parameters
    ----------
    matches
        the evaluation's, at ``thresholds``.
    tiou
        threshold of the profile and of the false negatives; impact and sensitivity average over all.
    matched
        the instance that each prediction found at ``tiou``, [P], -1 for none.

    Returns
    -------
    A JSON-ready dictionary: ``false_positives``, ``false_negatives``, ``sensitivity``; never NaN: the value
    of a bucket without instances is None.
    """
    instances = table.num_instances()
    position = np.arange(len(table.pred_label)) - table.label_start[table.pred_label]
    looked_at = position < _LIMIT * instances[table.pred_label]
    weight = looked_at.astype(np.float64)
    overlaps = best_overlaps(table, looked_at)
    characteristics = instance_buckets(annotations, table, protocol)
    missed = np.ones(len(table.gt_label), dtype=bool)
    missed[matched[looked_at & (matched >= 0)]] = False
    return {
        "tiou": tiou,
        "predictions_looked_at": int(looked_at.sum()),
        "false_positives": {
            "profile": _profile(
                error_kinds(matched, overlaps, tiou), position, instances[table.pred_label], looked_at
            ),
            "impact": _impact(table, matches, thresholds, overlaps, weight),
        },
        "false_negatives": {
            "instances": len(missed),
            "missed": int(missed.sum()),
            **{name: _missed(b, missed) for name, b in characteristics.items()},
        },
        "sensitivity": _sensitivity(table, matches, weight, characteristics),
    }


def _profile(
    kinds: IntArray, position: IntArray, instances: IntArray, looked_at: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Kinds of error among the k G best predictions of every label, k = 1 … 10 (cumulative)."""
    rows = []
    for k in range(1, _LIMIT + 1):
        chosen = kinds[looked_at & (position < k * instances)]
        counts = np.bincount(chosen, minlength=len(ERROR_KINDS))
        rows.append(
            {
                "top": f"{k}G",
                "predictions": len(chosen),
                **dict(zip(ERROR_KINDS, counts.tolist(), strict=True)),
            }
        )
    return rows


def _impact(
    table: Table,
    matches: Sequence[Match],
    thresholds: Sequence[float],
    overlaps: Overlaps,
    weight: FloatArray,
) -> dict[str, float]:
    """Average mAP gained when all errors of one kind vanish; taking away what is false changes no match."""
    instances = table.num_instances().astype(np.float64)
    gain = dict.fromkeys(ERROR_KINDS[1:], 0.0)
    for match, threshold in zip(matches, thresholds, strict=True):
        true = match.pred
        kinds = error_kinds(match.dense(len(weight)), overlaps, threshold)
        base = weighted_average_precisions(table, true, weight, instances).mean()
        for kind, name in enumerate(ERROR_KINDS[1:], start=1):
            without = weighted_average_precisions(table, true, weight * (kinds != kind), instances).mean()
            gain[name] += float(without - base) / len(thresholds)
    return gain


@dataclass(frozen=True)
class Buckets:
    """Instances by size: names of the buckets, what each holds, and every instance's bucket [G] (-1:
    unknown size).
    """

    names: tuple[str, ...]
    ranges: tuple[str, ...]
    bucket: IntArray


def instance_buckets(annotations: AnnotationSet, table: Table, protocol: Protocol) -> dict[str, Buckets]:
    """Buckets by length in seconds, by coverage (share of the video) where durations are known, and by the
    number of instances of the same label in the same video.
    """
    length = table.gt_end_s - table.gt_start_s
    durations = np.array([v.duration_s or 0.0 for v in annotations.videos.values()])[table.gt_video]
    key = table.gt_video * table.num_labels + table.gt_label
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    buckets = {"length": _bucket(length, protocol.length_edges, " s")}
    if (durations > 0).any():
        coverage = np.divide(length, durations, out=np.full(len(length), -1.0), where=durations > 0)
        buckets["coverage"] = _bucket(coverage, protocol.coverage_edges, "", unknown=durations <= 0)
    buckets["instances_per_video"] = _bucket(counts[inverse].astype(np.float64), protocol.instances_edges, "")
    return buckets


def _bucket(
    values: FloatArray, edges: Sequence[float] | None, unit: str, unknown: NDArray[np.bool_] | None = None
) -> Buckets:
    if edges is None:
        rounded = (float(f"{q:.2g}") for q in np.quantile(values, (0.2, 0.4, 0.6, 0.8)))
        edges = sorted({e for e in rounded if e < values.max()})
    bucket = np.searchsorted(np.asarray(edges, dtype=np.float64), values, "left")
    if unknown is not None:
        bucket = np.where(unknown, -1, bucket)
    names = BUCKET_NAMES if len(edges) == 4 else (BUCKET_NAMES[0], "S", "M", "L", "XL")[: len(edges) + 1]
    text = [f"{e:g}" for e in edges]
    ranges = [f"≤ {text[0]}{unit}"] if text else ["all"]
    ranges += [f"{a} – {b}{unit}" for a, b in pairwise(text)]
    ranges += [f"> {text[-1]}{unit}"] if text else []
    return Buckets(tuple(names), tuple(ranges), bucket)


def _missed(buckets: Buckets, missed: NDArray[np.bool_]) -> list[dict[str, Any]]:
    rows = []
    for i, (name, span) in enumerate(zip(buckets.names, buckets.ranges, strict=True)):
        inside = buckets.bucket == i
        count = int(inside.sum())
        lost = int(missed[inside].sum())
        rows.append(
            {
                "bucket": name,
                "range": span,
                "instances": count,
                "missed": lost,
                "missed_share": lost / count if count else None,
            }
        )
    return rows


def _sensitivity(
    table: Table, matches: Sequence[Match], weight: FloatArray, characteristics: dict[str, Buckets]
) -> dict[str, Any]:
    """Average mAP_N of the instances of each bucket; predictions that find others are left out of account."""
    normal = len(table.gt_label) / table.num_labels
    everything = table.num_instances().astype(np.float64)
    result: dict[str, Any] = {"average_mAP_N": _normalized(table, matches, weight, everything, normal, None)}
    for name, buckets in characteristics.items():
        rows = []
        for i, bucket in enumerate(buckets.names):
            inside = buckets.bucket == i
            instances = np.bincount(table.gt_label[inside], minlength=table.num_labels).astype(np.float64)
            value = _normalized(table, matches, weight, instances, normal, inside) if inside.any() else None
            rows.append(
                {
                    "bucket": bucket,
                    "range": buckets.ranges[i],
                    "instances": int(inside.sum()),
                    "average_mAP_N": value,
                }
            )
        result[name] = rows
    return result


def _normalized(
    table: Table,
    matches: Sequence[Match],
    weight: FloatArray,
    instances: FloatArray,
    normal: float,
    inside: NDArray[np.bool_] | None,
) -> float:
    values = []
    for match in matches:
        own = match.pred if inside is None else match.pred[inside[match.gt]]
        counted = weight.copy()
        counted[match.pred] = 0.0
        counted[own] = weight[own]
        ap = weighted_average_precisions(table, own, counted, instances, normal)
        values.append(ap[instances > 0].mean())
    return float(np.mean(values))
