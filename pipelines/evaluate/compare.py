"""Comparison of prediction files: average mAP, and a paired bootstrap of each against the first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.evaluate.run import EvaluateOptions, evaluate_files
from tal.errors import EvaluationError
from tal.metrics import Comparison, paired_bootstrap


@dataclass(frozen=True)
class Compared:
    """A comparison of prediction files, in their order; the others are compared with the first."""

    paths: list[Path]
    comparisons: list[Comparison]
    average_mAP: list[float]
    notes: list[str]
    report: dict[str, Any]


def compare_files(options: EvaluateOptions, samples: int = 1000, seed: int = 0) -> Compared:
    """Evaluate all files on the same ground truth and compare each with the first.

    Raises
    ------
    EvaluationError
        fewer than two files, or one in which nothing can be measured.
    """
    if len(options.predictions) < 2:
        raise EvaluationError("comparing needs two prediction files or more")
    evaluated = evaluate_files(options)
    (first_path, first), *others = evaluated.runs
    comparisons = [paired_bootstrap(first, run, samples, seed) for _, run in others]
    average = [float(run.ap.mean()) for _, run in evaluated.runs]
    report = {
        "annotations": str(options.annotations),
        "subset": evaluated.report["subset"],
        "duplicates": evaluated.report["duplicates"],
        "tiou": first.tiou,
        "first": str(first_path),
        "average_mAP": {str(path): value for (path, _), value in zip(evaluated.runs, average, strict=True)},
        "mean": evaluated.report["average_mAP"],
        "sd": evaluated.report["sd"]["average_mAP"],
        "comparisons": [
            {"predictions": str(path), **c.to_json()}
            for (path, _), c in zip(others, comparisons, strict=True)
        ],
    }
    return Compared([p for p, _ in evaluated.runs], comparisons, average, evaluated.notes, report)


def comparison_table(compared: Compared) -> pd.DataFrame:
    """One row per file: average mAP, difference to the first with its 95 % interval, p."""
    rows = [[str(compared.paths[0]), f"{100 * compared.average_mAP[0]:.2f}", "", "", ""]]
    for path, value, c in zip(
        compared.paths[1:], compared.average_mAP[1:], compared.comparisons, strict=True
    ):
        p = f"< {2 / (c.samples + 1):.2g}" if c.p_value <= 2 / (c.samples + 1) else f"{c.p_value:.3f}"
        interval = f"{100 * c.low:+.2f} … {100 * c.high:+.2f}"
        rows.append([str(path), f"{100 * value:.2f}", f"{100 * c.difference:+.2f}", interval, p])
    return pd.DataFrame(rows, columns=["predictions", "average mAP (%)", "difference", "95 % interval", "p"])


def verdict(compared: Compared) -> list[str]:
    """One sentence per comparison: which file is better, or that the videos do not tell."""
    lines = []
    for path, c in zip(compared.paths[1:], compared.comparisons, strict=True):
        if c.low > 0 or c.high < 0:
            word = "better" if c.difference > 0 else "worse"
            lines.append(f"{path.name} is {word} than {compared.paths[0].name}: the interval leaves 0 out")
        else:
            lines.append(f"{path.name} and {compared.paths[0].name}: these videos do not tell them apart")
    return lines
