"""Predictions against annotations: read, match once, measure everything, write tables and pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.evaluate.doubts import doubts
from pipelines.evaluate.duplicates import Duplicates
from tal.annotations import AnnotationSet, read_annotations, read_predictions
from tal.annotations.files import load_json, read_text
from tal.annotations.ids import align_ids
from tal.annotations.manifest import manifest, read_blocked
from tal.errors import EvaluationError
from tal.inference.thresholds import read_thresholds
from tal.metrics import Evaluation, Protocol, get_protocol
from tal.shared.files import write_text

# Formats that say which subset a video belongs to; in the others one file is one subset.
_WITH_SUBSETS = ("activitynet", "multithumos", "thumos14")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure, where the files are, and how."""

    annotations: Path
    predictions: tuple[Path, ...]
    subset: str | None = None
    protocol: str = "generic"
    tiou: tuple[float, ...] = ()  # (): the protocol's
    blocked: Path | None = None
    ignore_labels: tuple[str, ...] = ("Ambiguous",)
    keep_duplicates: bool = False
    drop_empty: bool = False  # leave out instances whose end is not after their start
    annotation_format: str = "auto"
    threshold: float | None = None  # None: of highest F1 by label, chosen on these very predictions
    thresholds_file: Path | None = None  # thresholds chosen elsewhere
    operating_tiou: float = 0.5
    diagnosis: bool = True


@dataclass
class Evaluated:
    """The result of `evaluate_files`; ``runs`` in the order of the prediction files."""

    options: EvaluateOptions
    protocol: Protocol
    annotations: AnnotationSet
    runs: list[tuple[Path, Evaluation]]
    report: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def load_ground_truth(options: EvaluateOptions) -> tuple[AnnotationSet, Protocol]:
    """The subset to measure on, without blocked videos, and the protocol.

    Raises
    ------
    AnnotationError
        a file cannot be read, or there is no such subset.
    EvaluationError
        there is no such protocol, or the subset has to be named.
    """
    protocol = get_protocol(options.protocol)
    whole = read_annotations(
        options.annotations,
        file_format=options.annotation_format,
        keep_duplicates=options.keep_duplicates,
        ignore_labels=options.ignore_labels,
    )
    subsets = whole.subsets
    subset, notes = options.subset, whole.notes
    if subset is None:
        subset = protocol.subset
        pairs = protocol.splits_in(subsets) if subset is not None else []
        if pairs and pairs[0][1] != subset:
            subset = pairs[0][1]
            notes = (*notes, f"subset {subset!r} is what protocol {protocol.name} measures on in this file")
        whole = replace(whole, notes=notes)
    if subset is None:
        if len(subsets) > 1:
            listing = ", ".join(f"{name!r} ({n} videos)" for name, n in subsets.items())
            raise EvaluationError(f"{whole.source}: say which subset to measure on (--subset): {listing}")
        annotations = whole
    elif list(subsets) == [""] and whole.format not in _WITH_SUBSETS:
        note = f"{whole.source} names no subset: all {len(whole)} videos are taken as {subset!r}"
        annotations = replace(whole, notes=(*whole.notes, note))
    else:
        annotations = whole.subset(subset)
    blocked = list(protocol.blocked)
    if options.blocked is not None:
        is_json = options.blocked.suffix == ".json"
        content = load_json(options.blocked) if is_json else read_text(options.blocked)
        blocked += read_blocked(content)
    if blocked:
        annotations = annotations.without(blocked, "blocked")
    if options.drop_empty:
        annotations = annotations.without_degenerate()
    return annotations, protocol


def evaluate_files(options: EvaluateOptions) -> Evaluated:
    """Evaluate each prediction file; an error names the file and what is wrong.

    Raises
    ------
    AnnotationError, EvaluationError
        see `load_ground_truth` and `tal.metrics.Evaluation`.
    CheckpointError
        the file of thresholds is damaged.
    """
    if not options.predictions:
        raise EvaluationError("no prediction file given")
    annotations, protocol = load_ground_truth(options)
    tiou = options.tiou or protocol.tiou
    chosen = read_thresholds(options.thresholds_file) if options.thresholds_file else None
    blocked = {e.video_id for e in annotations.excluded if e.reason == "blocked"}
    notes = list(annotations.notes)
    runs: list[tuple[Path, Evaluation]] = []
    reports: list[dict[str, Any]] = []
    for path in options.predictions:
        predictions, id_notes = align_ids(read_predictions(path), [*annotations.videos, *sorted(blocked)])
        if blocked:
            predictions = predictions[~predictions["video_id"].isin(list(blocked))]
        try:
            run = Evaluation(annotations, predictions, tiou)
        except EvaluationError as error:
            raise EvaluationError(f"{path}: {error}") from None
        runs.append((path, run))
        reports.append(_report_of(path, run, protocol, options, chosen))
        notes += [
            f"{path.name}: {n}" for n in (*id_notes, *_run_notes(run), *doubts(annotations, predictions))
        ]
    report = reports[0] if len(reports) == 1 else mean_report(reports)
    report = {
        **report,
        "protocol": protocol.name,
        "subset": sorted({v.subset for v in annotations.videos.values()}),
        "annotations": str(options.annotations),
        "duplicates": Duplicates.of(annotations).to_json(),
        "notes": notes,
        "manifest": manifest(annotations),
    }
    return Evaluated(options, protocol, annotations, runs, report, notes)


def _report_of(
    path: Path, run: Evaluation, protocol: Protocol, options: EvaluateOptions, chosen: dict[str, float] | None
) -> dict[str, Any]:
    """One run's JSON: mAP and, beside it, recalls, the operating point and the diagnosis."""
    extra: dict[str, Any] = {"predictions": str(path), **run.recalls(protocol)}
    at = options.operating_tiou
    if chosen is not None:
        source, threshold = str(options.thresholds_file), chosen
    elif options.threshold is not None:
        source, threshold = "given", dict.fromkeys(run.table.labels, options.threshold)
    else:
        source, threshold = "highest F1 on these very predictions (optimistic)", run.thresholds(at)
    extra["operating_point"] = {"thresholds_from": source, **run.operating_point(threshold, at)}
    if options.diagnosis:
        extra["diagnosis"] = run.diagnosis(protocol, at)
    return run.result(**extra).to_json()


def _run_notes(run: Evaluation) -> list[str]:
    counts, notes = run.counts(), []
    if n := counts["predictions_in_unknown_videos"]:
        videos = len(run.table.unknown_videos)
        notes.append(
            f"{n} predictions for {videos} videos that this ground truth does not have count as false, "
            "as in the official evaluator"
        )
    if n := counts["predictions_of_unknown_labels"]:
        names = ", ".join(map(repr, list(run.table.unknown_labels)[:3]))
        notes.append(f"{n} predictions of labels without ground truth are not counted: {names}")
    if n := counts["videos_without_predictions"]:
        notes.append(f"{n} of {counts['videos']} videos have no prediction")
    return notes


def mean_report(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of several runs under the usual keys; their sample standard deviation under ``sd``.

    The report of each run is under ``runs``.
    """

    def stack(key: str) -> np.ndarray:
        return np.array([r[key] for r in reports])

    labels = list(reports[0]["per_class"])
    per_class = {n: np.array([r["per_class"][n] for r in reports]) for n in labels}
    return {
        "tiou": reports[0]["tiou"],
        "mAP": stack("mAP").mean(axis=0).tolist(),
        "average_mAP": float(stack("average_mAP").mean()),
        "per_class": {n: v.mean(axis=0).tolist() for n, v in per_class.items()},
        "sd": {
            "mAP": stack("mAP").std(axis=0, ddof=1).tolist(),
            "average_mAP": float(stack("average_mAP").std(ddof=1)),
            "per_class": {n: v.std(axis=0, ddof=1).tolist() for n, v in per_class.items()},
        },
        "runs": list(reports),
    }


def write_json(evaluated: Evaluated, path: Path) -> None:
    """Write the whole report as JSON; NaN is an error and never written."""
    write_text(path, json.dumps(evaluated.report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_thresholds(evaluated: Evaluated, path: Path) -> None:
    """Write the first file's thresholds of highest F1 by label, in the form of a model folder."""
    tiou = evaluated.options.operating_tiou
    content = {"tiou": tiou, "thresholds": evaluated.runs[0][1].thresholds(tiou)}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
