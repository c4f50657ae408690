"""A study's table: mean and standard deviation over seeds, beside yardsticks from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.study.matrix import RunResult, as_records
from pipelines.shared.files import write_text
from tal.metrics import Comparison


@dataclass(frozen=True)
class Yardstick:
    """A figure of somebody else's code on the same data: protocol name -> mAP, and how it was made."""

    name: str
    values: dict[str, float]
    setting: str


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 of a single value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _cell(values: Sequence[float], digits: int = 3) -> str:
    mean, sd = mean_sd(values)
    return f"{mean:.{digits}f} ± {sd:.{digits}f}" if len(values) > 1 else f"{mean:.{digits}f}"


def markdown(
    results: Sequence[RunResult],
    yardsticks: Sequence[Yardstick],
    command: str,
    compared: Sequence[tuple[str, str, Comparison]] = (),
) -> str:
    """The table as Markdown, one row per variant in the order they were run; then the pairs."""
    names = list(dict.fromkeys(r.variant for r in results))
    protocols = list(results[0].last)
    head = ["", "seeds", *(f"mAP {p}, last" for p in protocols), *(f"mAP {p}, best" for p in protocols)]
    head += ["minutes", "peak MiB", "parameters"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in names:
        runs = [r for r in results if r.variant == name]
        cells = [name, str(len(runs))]
        cells += [_cell([r.last[p] for r in runs]) for p in protocols]
        cells += [_cell([r.best[p] for r in runs]) for p in protocols]
        cells += [
            f"{np.mean([r.hours * 60 for r in runs]):.1f}",
            f"{max(r.peak_memory_mib for r in runs):.0f}",
        ]
        cells.append(f"{runs[0].parameters / 1e6:.2f} M")
        lines.append("| " + " | ".join(cells) + " |")
    for yardstick in yardsticks:
        values = [f"{yardstick.values[p]:.3f}" if p in yardstick.values else "" for p in protocols]
        blank = [""] * (len(head) - 2 - len(values))
        lines.append("| " + " | ".join([f"*{yardstick.name}*", "1", *values, *blank]) + " |")
    notes = ["", "`last`: the weights at the end of training; `best`: those of the highest validation mAP."]
    settings = dict.fromkeys(y.setting for y in yardsticks)
    notes += [f"*Italic*: {setting}." for setting in settings]
    notes += _rows(results)
    notes += _pairs(compared, protocols[0])
    notes += [f"Made by `{command}`.", ""]
    return "\n".join([*lines, *notes])


def _rows(results: Sequence[RunResult]) -> list[str]:
    """What single rows say, and how old the memory is; nothing where it was not measured."""
    measured = [r for r in results if r.rows]
    if not measured:
        return []
    head = ["", "row AP", *(f"row {p}" for p in range(len(measured[0].rows) - 1)), "drift", "age"]
    lines = ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in dict.fromkeys(r.variant for r in measured):
        runs = [r for r in measured if r.variant == name]
        cells = [name, _cell([r.rows[0] for r in runs])]
        cells += [f"{np.mean(at):.3f}" for at in list(zip(*(r.rows for r in runs), strict=True))[1:]]
        drifts = [r.drift for r in runs if r.drift is not None]
        ages = [r.age for r in runs if r.age is not None]
        drift = _cell(drifts) if drifts else "–"
        age = f"{np.mean(ages):.0f}" if ages else "–"
        lines.append("| " + " | ".join([*cells, drift, age]) + " |")
    note = (
        "`row AP`: mean average precision of the row classifier on validation rows, of all and by position "
        "in the clip; `drift`: mean cosine of a fresh row to the stored one in the last epoch that encoded, "
        "`age`: mean age of the memory's rows then, in steps."
    )
    return [*lines, "", note]


def _pairs(compared: Sequence[tuple[str, str, Comparison]], protocol: str) -> list[str]:
    if not compared:
        return []
    lines = ["", "| B | against A | B − A | 95 % interval | p |", "|---|---|---|---|---|"]
    for a, b, c in compared:
        interval = f"{c.low:+.3f} … {c.high:+.3f}"
        lines.append(f"| {b} | {a} | {c.difference:+.3f} | {interval} | {max(c.p_value, 0.001):.3f} |")
    what = f"Differences in mAP {protocol} of the last weights: paired bootstrap over videos and seeds"
    return [*lines, "", f"{what}, {compared[0][2].samples} samples.", ""]


def write_study(
    out: Path,
    results: Sequence[RunResult],
    yardsticks: Sequence[Yardstick],
    command: str,
    compared: Sequence[tuple[str, str, Comparison]] = (),
) -> tuple[Path, Path]:
    """Write OUT/study.md and OUT/study.json; they are replaced as more runs finish."""
    tree = {
        "command": command,
        "runs": as_records(results),
        "yardsticks": [y.__dict__ for y in yardsticks],
        "comparisons": [{"a": a, "b": b, **c.to_json()} for a, b, c in compared],
    }
    text = json.dumps(tree, indent=1)
    return (
        write_text(out / "study.md", markdown(results, yardsticks, command, compared), overwrite=True),
        write_text(out / "study.json", text, overwrite=True),
    )
