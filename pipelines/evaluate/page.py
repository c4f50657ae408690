"""An evaluation as one page that needs nothing else: tables, figures, what was counted."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.evaluate.plots import as_svg, figures
from pipelines.evaluate.run import Evaluated
from pipelines.evaluate.tables import class_table, paper_table, summary_lines
from tal.annotations.files import write_text

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2530; background: #fff; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.big { font-size: 2.4rem; font-weight: 650; color: #2563a8; }
.quiet { color: #5c6673; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e3e6ea; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid #1d2530; }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
.notes { background: #fff7e0; border-left: 4px solid #f0b43c; padding: .5rem 1rem; overflow-wrap: anywhere; }
details { margin: .5rem 0; }
"""

_CAPTIONS = {
    "map_by_tiou": "Mean average precision by tIoU.",
    "ap_by_class": "Average precision by class, mean over tIoU; the dashed line is the mean of all.",
    "precision_recall": "Each class in grey, all together in blue.",
    "false_positives": "Left: what the best predictions are, after DETAD. Right: the average mAP that "
    "would be gained if all errors of one kind vanished.",
    "missed": "Instances that none of the 10 G best predictions of their class finds; dashed: all.",
}


def write_page(evaluated: Evaluated, path: Path) -> None:
    """Write the page; every name in it comes from files and is escaped."""
    write_text(path, page(evaluated))


def page(evaluated: Evaluated) -> str:
    report = evaluated.report
    sd = f" ± {100 * report['sd']['average_mAP']:.2f}" if "sd" in report else ""
    first = f" Shown: {evaluated.runs[0][0].name}." if len(evaluated.runs) > 1 else ""
    drawn = "".join(
        f"<figure>{as_svg(draw(evaluated))}"
        f"<figcaption class='quiet'>{escape(_CAPTIONS[name])}{escape(first)}</figcaption></figure>"
        for name, draw in figures(evaluated).items()
    )
    notes = "".join(f"<li>{escape(n)}</li>" for n in evaluated.notes)
    parts = [
        f"<h1>{escape(evaluated.protocol.title)}: evaluation</h1>",
        f"<p class='quiet'>{escape(', '.join(str(p) for p, _ in evaluated.runs))} against "
        f"{escape(report['annotations'])}</p>",
        f"<p><span class='big'>{100 * report['average_mAP']:.2f}{sd} %</span> average mAP</p>",
        *(f"<p>{escape(line)}</p>" for line in summary_lines(evaluated)),
        _html_table(paper_table(evaluated)),
        f"<div class='notes'><ul>{notes}</ul></div>" if notes else "",
        drawn,
        f"<h2>By class</h2>{_html_table(class_table(evaluated))}",
        _operating(report),
        _manifest(report["manifest"]),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(evaluated.protocol.title)}: evaluation</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _html_table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(str(c))}</th>" for c in frame.columns)
    rows = (
        "<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<div class='scroll'><table>{body}</table></div>"


def _operating(report: dict[str, Any]) -> str:
    point = report.get("runs", [report])[0]["operating_point"]
    rows = [
        [
            name,
            f"{p['threshold']:.3g}",
            *(f"{100 * p[k]:.1f}" for k in ("precision", "recall", "f1")),
            *(p[k] for k in ("true", "false", "missed")),
        ]
        for name, p in point["per_class"].items()
    ]
    heads = ["class", "score from", "precision (%)", "recall (%)", "F1 (%)", "true", "false", "missed"]
    return (
        f"<h2>Above a score, at tIoU {point['tiou']:g}</h2>"
        f"<p class='quiet'>Scores: {escape(point['thresholds_from'])}.</p>"
        + _html_table(pd.DataFrame(rows, columns=heads))
    )


def _manifest(account: dict[str, Any]) -> str:
    counted = [[name, n] for name, n in account["instances_by_video"].items()]
    excluded = [
        [e["video"], e["reason"], e.get("label", ""), " – ".join(f"{t:.3f}" for t in e.get("segment", ()))]
        for e in account["excluded"]
    ]
    inside = _html_table(pd.DataFrame(counted, columns=["video", "instances"]))
    outside = _html_table(pd.DataFrame(excluded, columns=["video", "reason", "label", "segment (s)"]))
    summary = f"{len(counted)} videos, {account['instances']} instances"
    return (
        f"<h2>What was counted</h2><details><summary>{summary}</summary>{inside}</details>"
        f"<details><summary>{len(excluded)} left out</summary>{outside}</details>"
    )
