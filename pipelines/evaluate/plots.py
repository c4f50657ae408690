"""Figures of an evaluation: AP by tIoU, by class, false positives by kind, precision against recall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evaluate.run import Evaluated
from pipelines.shared.files import save_figure
from tal.metrics.diagnosis import ERROR_KINDS
from tal.metrics.operating import precision_recall_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _GREY = "#2563a8", "#8a8f98"
# true positive · double · localization · wrong label · confusion · background
_KIND_COLOURS = ("#2563a8", "#7fb2e5", "#f0b43c", "#c8553d", "#8e5aa8", "#b9bec6")
_MAX_CLASSES = 60


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of its own: no global state of pyplot, no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plain(label: str, limit: int = 28) -> str:
    """A label as matplotlib may show it: short, and without its mathematics."""
    text = label if len(label) <= limit else label[: limit - 1] + "…"
    return "".join(c if c.isprintable() else "�" for c in text).replace("$", r"\$")


def plot_map(evaluated: Evaluated) -> Figure:
    """mAP by tIoU, one line per file; the band is ± sd."""
    figure, axes = _figure(6, 3.6)
    report = evaluated.report
    tiou = report["tiou"]
    runs = report.get("runs", [report])
    for run in runs:
        values = 100 * np.array(run["mAP"])
        alone = len(runs) == 1
        axes.plot(tiou, values, "o-" if alone else "-", color=_BLUE if alone else _GREY, lw=2 if alone else 1)
    mean = 100 * np.array(report["mAP"])
    if "sd" in report:
        sd = 100 * np.array(report["sd"]["mAP"])
        axes.fill_between(tiou, mean - sd, mean + sd, color=_BLUE, alpha=0.2, lw=0)
        axes.plot(tiou, mean, "o-", color=_BLUE, lw=2, label=f"mean ± sd of {len(runs)}")
        axes.legend(frameon=False)
    for x, y in zip(tiou, mean, strict=True):
        axes.annotate(f"{y:.1f}", (x, y), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=8)
    axes.set(xlabel="tIoU", ylabel="mAP (%)", xticks=tiou, ylim=(0, max(5.0, mean.max() * 1.2)))
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="y", alpha=0.25)
    axes.set_title(f"average mAP {100 * report['average_mAP']:.2f} %", loc="left", fontsize=11)
    return figure


def plot_classes(evaluated: Evaluated) -> Figure:
    """Average AP of each class, best first; the line is average mAP."""
    average = {n: 100 * float(np.mean(v)) for n, v in evaluated.report["per_class"].items()}
    ranked = sorted(average.items(), key=lambda item: item[1])
    title = f"AP by class, mean over tIoU ({len(ranked)} classes)"
    if len(ranked) > _MAX_CLASSES:
        half = _MAX_CLASSES // 2
        title = f"AP by class, mean over tIoU: the {half} best and {half} worst of {len(ranked)} classes"
        ranked = ranked[:half] + ranked[-half:]
    figure, axes = _figure(6, 1 + 0.2 * len(ranked))
    y = np.arange(len(ranked))
    axes.barh(y, [v for _, v in ranked], color=_BLUE, height=0.7)
    axes.set_yticks(y, [_plain(n) for n, _ in ranked], fontsize=8)
    axes.axvline(100 * evaluated.report["average_mAP"], color="black", lw=1, ls="--")
    axes.set(xlabel="AP (%)", ylim=(-0.7, len(ranked) - 0.3), xlim=(0, 100))
    axes.set_title(title, loc="left", fontsize=11)
    return figure


def plot_false_positives(evaluated: Evaluated) -> Figure:
    """Kinds of error among the k G best predictions of each class, and the average mAP each kind costs."""
    from matplotlib.figure import Figure

    diagnosis = evaluated.report.get("runs", [evaluated.report])[0]["diagnosis"]
    profile = diagnosis["false_positives"]["profile"]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    bottom = np.zeros(len(profile))
    total = np.array([max(row["predictions"], 1) for row in profile])
    x = np.arange(len(profile))
    for kind, colour in zip(ERROR_KINDS, _KIND_COLOURS, strict=True):
        share = 100 * np.array([row[kind] for row in profile]) / total
        left.bar(x, share, bottom=bottom, color=colour, width=0.85, label=kind)
        bottom += share
    left.set_xticks(x, [row["top"] for row in profile], fontsize=8)
    left.set(ylabel="predictions (%)", ylim=(0, 100), xlabel="best predictions per class (G: its instances)")
    left.set_title(f"false-positive profile, tIoU {diagnosis['tiou']:g}", loc="left", fontsize=11)
    gains = [100 * diagnosis["false_positives"]["impact"][k] for k in ERROR_KINDS[1:]]
    right.barh(np.arange(len(gains))[::-1], gains, color=_KIND_COLOURS[1:], height=0.7)
    right.set_yticks(np.arange(len(gains))[::-1], ERROR_KINDS[1:], fontsize=8)
    for y, gain in zip(np.arange(len(gains))[::-1], gains, strict=True):
        right.annotate(
            f"+{gain:.1f}", (gain, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    right.set(xlabel="average mAP gained (%)", xlim=(0, max([*gains, 0.1]) * 1.3))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=6, frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_missed(evaluated: Evaluated) -> Figure:
    """Share of instances missed, by length, coverage and number in the video."""
    from matplotlib.figure import Figure

    missed = evaluated.report.get("runs", [evaluated.report])[0]["diagnosis"]["false_negatives"]
    names = [n for n in ("length", "coverage", "instances_per_video") if n in missed]
    titles = {
        "length": "by length",
        "coverage": "by share of the video",
        "instances_per_video": "by number of its class in the video",
    }
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    overall = 100 * missed["missed"] / missed["instances"]
    for axes, name in zip(panels, names, strict=True):
        rows = missed[name]
        x = np.arange(len(rows))
        axes.bar(x, [100 * (r["missed_share"] or 0.0) for r in rows], color=_BLUE, width=0.7)
        axes.set_xticks(
            x, [f"{r['bucket']}\n{_upper(r['range'])}\nn={r['instances']}" for r in rows], fontsize=7
        )
        axes.axhline(overall, color="black", lw=1, ls="--")
        axes.set_title(titles[name], loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="missed (%)", ylim=(0, 100))
    return figure


def _upper(span: str) -> str:
    """``0.02 – 0.04`` -> ``≤ 0.04``: neighbours say the rest, and ticks are narrow."""
    return f"≤ {span.rpartition(' – ')[2]}" if " – " in span else span


def plot_precision_recall(evaluated: Evaluated) -> Figure:
    """Precision against recall at the operating tIoU: each class thin, all together thick."""
    figure, axes = _figure(4.6, 4)
    run = evaluated.runs[0][1]
    tiou = evaluated.options.operating_tiou
    matched = run.matched_at(tiou)
    for c in range(run.table.num_labels):
        recall, precision = precision_recall_curve(run.table, matched, c)
        axes.plot(*_thinned(100 * recall, 100 * precision), color=_GREY, lw=0.6, alpha=0.5)
    recall, precision = precision_recall_curve(run.table, matched)
    axes.plot(*_thinned(100 * recall, 100 * precision), color=_BLUE, lw=2, label="all classes")
    micro = evaluated.report.get("runs", [evaluated.report])[0]["operating_point"]["micro"]
    point = (100 * micro["recall"], 100 * micro["precision"])
    axes.plot(*point, "o", color="black", label=f"operating point, F1 {100 * micro['f1']:.1f} %")
    axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 102))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    axes.set_title(f"precision and recall, tIoU {tiou:g}", loc="left", fontsize=11)
    return figure


def _thinned(x: np.ndarray, y: np.ndarray, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` of a long curve: more cannot be seen, and a page must stay small."""
    if len(x) <= points:
        return x, y
    keep = np.unique(np.linspace(0, len(x) - 1, points).astype(int))
    return x[keep], y[keep]


def figures(evaluated: Evaluated) -> dict[str, Callable[[Evaluated], Figure]]:
    """Name -> function that draws the figure, for those that the evaluation has data for."""
    drawn: dict[str, Callable[[Evaluated], Figure]] = {
        "map_by_tiou": plot_map,
        "ap_by_class": plot_classes,
        "precision_recall": plot_precision_recall,
    }
    if evaluated.options.diagnosis:
        drawn |= {"false_positives": plot_false_positives, "missed": plot_missed}
    return drawn


def write_plots(evaluated: Evaluated, folder: Path) -> list[Path]:
    """Write every figure as PNG; returns the paths. OutputError when one cannot be written."""
    return [
        save_figure(draw(evaluated), folder / f"{name}.png", dpi=150)
        for name, draw in figures(evaluated).items()
    ]
