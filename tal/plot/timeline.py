"""Timelines: ground truth and detections of a video over its seconds, as a picture.

Ground truth stands above; below it every class has a lane with its detections, as high as their score.
Right and wrong are told by fill pattern and mark, not by colour alone; colours after Okabe and Ito.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tal.annotations import Segment
from tal.annotations.clock import clock
from tal.metrics.judge import judge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tal.plot.picture import Picture

_BLUE, _ORANGE, _GREY, _INK = "#0072B2", "#D55E00", "#C9CDD2", "#1B1F24"
_LANE_INCHES = 0.42
_WIDTH_INCHES = 13.0
_NUMBER_LETTERS = 7  # of a score with its mark and a little air


def timeline(
    predictions: pd.DataFrame,
    ground_truth: Sequence[Segment] | None = None,
    duration_s: float | None = None,
    title: str = "",
    tiou: float = 0.5,
) -> Picture:
    """Draw one video's timeline.

    ``figure.savefig("timeline.png")`` keeps the figure that is returned, a notebook shows it.

    Parameters
    ----------
    predictions
        columns start_s, end_s, label, score of one video, those worth drawing.
    ground_truth
        annotated segments; None where there is no annotation.
    duration_s
        duration of the video; None: to the last segment's end.
    tiou
        overlap from which a detection is right, by the evaluator's rule.
    """
    detections = judge(predictions, ground_truth, tiou)
    labels = _lanes(detections, ground_truth or ())
    ends = [s.end_s for s in ground_truth or ()] + detections["end_s"].tolist()
    return _draw(detections, ground_truth, labels, duration_s or max(ends, default=1.0), title, tiou)


def _iou(start_s: float, end_s: float, segment: Segment) -> float:
    both = min(end_s, segment.end_s) - max(start_s, segment.start_s)
    return max(0.0, both) / max(1e-9, (end_s - start_s) + segment.duration_s - max(0.0, both))


def _lanes(detections: pd.DataFrame, ground_truth: Sequence[Segment]) -> list[str]:
    """Labels in the order in which they first appear in the video."""
    first: dict[str, float] = {}
    starts = [(s.label, s.start_s) for s in ground_truth]
    starts += zip(detections["label"].astype(str), detections["start_s"], strict=True)
    for label, start_s in starts:
        first[label] = min(start_s, first.get(label, start_s))
    return sorted(first, key=lambda name: (first[name], name))


def _draw(
    detections: pd.DataFrame,
    ground_truth: Sequence[Segment] | None,
    labels: list[str],
    end_s: float,
    title: str,
    tiou: float,
) -> Picture:
    from tal.plot.picture import Picture  # matplotlib is imported when something is drawn

    top = int(ground_truth is not None)
    lanes = len(labels) + top
    height = max(2.2, _LANE_INCHES * lanes + 1.5)
    figure = Picture(figsize=(_WIDTH_INCHES, height), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(0, end_s)
    axes.set_ylim(max(lanes, 1), 0)
    for lane in range(1, lanes):
        axes.axhline(lane, color=_GREY, linewidth=0.6, zorder=0)
    if ground_truth is not None:
        _draw_truth(axes, ground_truth, detections, labels, end_s, tiou)
    numbers: dict[str, list[float]] = {label: [] for label in labels}
    for item in detections.to_dict("records"):
        lane = top + labels.index(str(item["label"]))
        _draw_detection(axes, item, lane, end_s)
        _draw_score(axes, item, lane, end_s, numbers[str(item["label"])])
    names = (["truth"] if top else []) + labels
    axes.set_yticks([i + 0.5 for i in range(len(names))], names)
    if top:
        axes.get_yticklabels()[0].set_fontweight("bold")
        axes.axhline(1, color=_INK, linewidth=1.2)
    _time_axis(axes, end_s)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    _legend(axes, detections, ground_truth is not None, tiou)
    return figure


def _draw_truth(
    axes: Axes,
    ground_truth: Sequence[Segment],
    detections: pd.DataFrame,
    labels: list[str],
    end_s: float,
    tiou: float,
) -> None:
    hits = detections[detections["right"].astype(bool)].to_dict("records")
    for segment in ground_truth:
        same = (d for d in hits if str(d["label"]) == segment.label)
        is_found = any(_iou(d["start_s"], d["end_s"], segment) >= tiou for d in same)
        lane = 1 + labels.index(segment.label)
        width = segment.duration_s
        axes.broken_barh(
            [(segment.start_s, width)], (0.14, 0.72), edgecolor=_INK, linewidth=1.0,
            facecolor=_GREY if is_found else "white", linestyle="-" if is_found else (0, (3, 2)),
        )  # fmt: skip
        _text(axes, segment.start_s, width, 0.5, segment.label, end_s, color=_INK)
        # the same stretch in its class's lane, so that the eye need not travel
        axes.broken_barh(
            [(segment.start_s, width)], (lane + 0.02, 0.96), facecolor=_GREY, alpha=0.45, zorder=0.5
        )


def _draw_detection(axes: Axes, item: dict[Hashable, Any], lane: int, end_s: float) -> None:
    wrong = item["right"] is not None and not item["right"]
    high = 0.16 + 0.7 * min(1.0, max(0.0, item["score"]))
    width = max(item["end_s"] - item["start_s"], end_s * 1e-3)
    axes.broken_barh(
        [(item["start_s"], width)], (lane + 0.95 - high, high), facecolor="white" if wrong else _BLUE,
        edgecolor=_ORANGE if wrong else _BLUE, hatch="////" if wrong else None, linewidth=1.2, zorder=2,
    )  # fmt: skip


def _draw_score(axes: Axes, item: dict[Hashable, Any], lane: int, end_s: float, others: list[float]) -> None:
    """The number in the middle of its bar, unless a better detection's stands there.

    ``others`` are the middles of the numbers that were drawn, in seconds.
    """
    middle = (item["start_s"] + item["end_s"]) / 2
    room = _NUMBER_LETTERS / _letters(1.0, end_s)
    if any(abs(middle - other) < room for other in others):
        return
    mark = "" if item["right"] is None else " ✓" if item["right"] else " ✗"
    width = item["end_s"] - item["start_s"]
    if _text(axes, item["start_s"], width, lane + 0.5, f"{item['score']:.2f}{mark}", end_s, boxed=True):
        others.append(middle)


def _letters(seconds: float, end_s: float) -> float:
    """Letters that have room in so many seconds of a picture of ``end_s``; about 13 per inch at this size."""
    return seconds / end_s * _WIDTH_INCHES * 0.86 * 13


def _text(
    axes: Axes,
    start_s: float,
    width: float,
    y: float,
    text: str,
    end_s: float,
    boxed: bool = False,
    color: str = _INK,
) -> bool:
    """Text in the middle of a bar, where it has room: smaller, cut short or left out (False) where not."""
    letters = _letters(width, end_s)
    if letters < 2.5:
        return False
    if not boxed and len(text) > letters:
        text = text[: max(1, int(letters) - 1)] + "…"
    elif len(text) > letters + 1:
        text = text.split(" ")[0][1:] if text.startswith("0.") else text[: int(letters)]
    box: dict[str, Any] | None = None
    if boxed:
        box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.88}
    axes.text(
        start_s + width / 2, y, text, ha="center", va="center", fontsize=7.5, color=color, bbox=box, zorder=3,
        clip_on=True,
    )  # fmt: skip
    return True


def _time_axis(axes: Axes, end_s: float) -> None:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
    step = next((s for s in steps if end_s / s <= 16), 14400)
    ticks = np.arange(0, end_s + 1e-9, step)
    long = end_s >= 3600
    axes.set_xticks(ticks, [clock(t, hours=long) for t in ticks])
    axes.set_xlabel("time (h:mm:ss)" if long else "time (m:ss)")
    axes.grid(axis="x", color=_GREY, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _legend(axes: Axes, detections: pd.DataFrame, with_truth: bool, tiou: float) -> None:
    from matplotlib.patches import Patch

    if with_truth:
        right = int(detections["right"].sum())
        wrong = len(detections) - right
        handles = [
            Patch(facecolor=_BLUE, edgecolor=_BLUE, label=f"✓ right (overlap ≥ {tiou:g}): {right}"),
            Patch(
                facecolor="white",
                edgecolor=_ORANGE,
                hatch="////",
                label=f"✗ wrong: {wrong}",
            ),
            Patch(facecolor=_GREY, edgecolor=_INK, label="truth, found"),
            Patch(facecolor="white", edgecolor=_INK, linestyle=(0, (3, 2)), label="truth, missed"),
        ]
    else:
        handles = [Patch(facecolor=_BLUE, edgecolor=_BLUE, label=f"detections: {len(detections)}")]
    handles.append(Patch(facecolor="none", edgecolor="none", label="height and number: score"))
    axes.figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        handlelength=1.8,
    )
