"""An evaluation as tables: as papers print it, by class, and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.evaluate.run import Evaluated
from tal.shared.files import write_text


def columns_shown(evaluated: Evaluated) -> list[int]:
    """Indices of the thresholds that the protocol's papers print; all of them when others were asked for."""
    tiou = evaluated.report["tiou"]
    printed = [tiou.index(t) for t in evaluated.protocol.columns if t in tiou]
    complete = not evaluated.options.tiou and len(printed) == len(evaluated.protocol.columns)
    return printed if complete else list(range(len(tiou)))


def _percent(value: float, sd: float | None = None) -> str:
    return f"{100 * value:.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "")


def paper_table(evaluated: Evaluated) -> pd.DataFrame:
    """mAP in percent by tIoU and on average; one row per file, and mean ± sd (sample) of several."""
    shown = columns_shown(evaluated)
    report = evaluated.report
    heads = [f"{report['tiou'][i]:g}" for i in shown]
    runs = report.get("runs", [report])
    rows = []
    for run in runs:
        rows.append(
            [
                Path(run["predictions"]).stem,
                *(_percent(run["mAP"][i]) for i in shown),
                _percent(run["average_mAP"]),
            ]
        )
    if "sd" in report:
        sd = report["sd"]
        cells = (_percent(report["mAP"][i], sd["mAP"][i]) for i in shown)
        rows.append(["mean ± sd", *cells, _percent(report["average_mAP"], sd["average_mAP"])])
    return pd.DataFrame(rows, columns=["mAP (%)", *heads, "average"])


def class_table(evaluated: Evaluated) -> pd.DataFrame:
    """AP by class in percent, best first, with its number of instances."""
    shown = columns_shown(evaluated)
    report = evaluated.report
    table = evaluated.runs[0][1].table
    instances = dict(zip(table.labels, table.num_instances().tolist(), strict=True))
    rows = [
        [name, instances[name], *(_percent(ap[i]) for i in shown), _percent(sum(ap) / len(ap))]
        for name, ap in sorted(report["per_class"].items(), key=lambda item: -sum(item[1]))
    ]
    heads = [f"{report['tiou'][i]:g}" for i in shown]
    return pd.DataFrame(rows, columns=["AP (%)", "instances", *heads, "average"])


def write_csv(evaluated: Evaluated, path: Path) -> None:
    """Write one row per file and label (first ``mAP``), as fractions with every digit.

    Labels that a spreadsheet would take for a formula get a leading apostrophe.
    """
    report = evaluated.report
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["predictions", "label", "instances", *(f"tiou_{t:g}" for t in report["tiou"]), "average"]
    )
    table = evaluated.runs[0][1].table
    instances = dict(zip(table.labels, table.num_instances().tolist(), strict=True))
    named: list[tuple[str, dict[str, Any]]] = [(r["predictions"], r) for r in report.get("runs", [report])]
    if "sd" in report:
        named += [("mean", report), ("sd", report["sd"])]
    for name, run in named:
        writer.writerow([name, "mAP", len(table.gt_label), *run["mAP"], run["average_mAP"]])
        for label, ap in run["per_class"].items():
            average = sum(ap) / len(ap) if name != "sd" else ""
            writer.writerow([name, _no_formula(label), instances[label], *ap, average])
    write_text(path, text.getvalue())


def _no_formula(label: str) -> str:
    return f"'{label}" if label[:1] in ("=", "+", "-", "@", "\t", "\r") else label


def summary_lines(evaluated: Evaluated) -> list[str]:
    """Counts of videos and instances, and the most telling numbers beside mAP, as lines to print."""
    report = evaluated.report
    lines = []
    runs = report.get("runs", [report])
    counts = runs[0]["counts"]
    lines.append(
        f"{counts['videos']} videos, {counts['instances']} instances of {counts['labels']} labels "
        f"({evaluated.protocol.title}, subset {', '.join(map(repr, report['subset']))})"
    )
    lines.append(f"mAP: {report['duplicates']['rule']}")
    for run in runs:
        point = run["operating_point"]
        micro = point["micro"]
        lines.append(
            f"{Path(run['predictions']).stem}: {run['counts']['predictions']} predictions; "
            f"video top-1 {_percent(run['video_top1']['accuracy'])} %; "
            f"at tIoU {point['tiou']:g} precision {_percent(micro['precision'])} %, "
            f"recall {_percent(micro['recall'])} %, F1 {_percent(micro['f1'])} % "
            f"(scores: {point['thresholds_from']})"
        )
        if "diagnosis" in run:
            impact = run["diagnosis"]["false_positives"]["impact"]
            best = [i for i in sorted(impact.items(), key=lambda item: -item[1])[:3] if i[1] > 5e-4]
            gains = ", ".join(f"{name} +{100 * gain:.1f}" for name, gain in best)
            lines.append(f"  average mAP to be gained without errors of one kind: {gains or 'none'}")
    return lines
