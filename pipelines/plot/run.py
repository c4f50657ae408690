"""Timelines: what is in a video and what was found, over its seconds, as a picture.

Truth stands above; below it every class has a lane with its detections, as high as their score. Right and
wrong are told by fill pattern and mark, not by colour alone; the colours are those of Okabe and Ito.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipelines.shared import console
from pipelines.shared.files import output_errors, require_new
from tal.annotations import Segment
from tal.annotations.ids import match_ids
from tal.errors import EvaluationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY, _INK = "#0072B2", "#D55E00", "#C9CDD2", "#1B1F24"
_LANE_INCHES = 0.42
_WIDTH_INCHES = 13.0
_NUMBER_LETTERS = 7  # of a score with its mark and a little air


@dataclass(frozen=True)
class Detection:
    """A detection to draw; ``right`` None where there is no truth to compare with."""

    start_s: float
    end_s: float
    label: str
    score: float
    right: bool | None = None


def timeline(
    out: str | Path,
    predictions: pd.DataFrame,
    truth: Sequence[Segment] | None = None,
    duration_s: float | None = None,
    title: str = "",
    tiou: float = 0.5,
    overwrite: bool = False,
) -> Path:
    """Draw one video's timeline as PNG (or another format by ``out``'s suffix).

    Parameters
    ----------
    predictions
        columns start_s, end_s, label, score of one video, those worth drawing.
    truth
        annotated segments; None where nobody knows.
    tiou
        overlap from which a detection is right.
    """
    path = Path(out)
    require_new([path], overwrite)
    found = judge(predictions, truth, tiou)
    labels = _lanes(found, truth or ())
    end_s = duration_s or max([s.end_s for s in truth or ()] + [d.end_s for d in found], default=1.0)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw(path, found, truth, labels, end_s, title, tiou)
    return path


def judge(predictions: pd.DataFrame, truth: Sequence[Segment] | None, tiou: float) -> list[Detection]:
    """Detections, best first; each is right when the free instance of its label that it overlaps most does
    so by ``tiou`` or more (the evaluator's rule).
    """
    ordered = predictions.sort_values("score", ascending=False, kind="stable")
    rows = zip(*(ordered[c].tolist() for c in ("start_s", "end_s", "label", "score")), strict=True)
    free = list(truth or ())
    result = []
    for start_s, end_s, label, score in rows:
        right = None
        if truth is not None:
            overlaps = [(_iou(start_s, end_s, s), i) for i, s in enumerate(free) if s.label == str(label)]
            best = max(overlaps, default=(0.0, -1))
            right = best[0] >= tiou
            if right:
                free.pop(best[1])
        result.append(Detection(float(start_s), float(end_s), str(label), float(score), right))
    return result


def _iou(start_s: float, end_s: float, segment: Segment) -> float:
    both = min(end_s, segment.end_s) - max(start_s, segment.start_s)
    return max(0.0, both) / max(1e-9, (end_s - start_s) + segment.duration_s - max(0.0, both))


def _lanes(found: Sequence[Detection], truth: Sequence[Segment]) -> list[str]:
    """Labels in the order in which they first appear in the video."""
    first: dict[str, float] = {}
    starts = [(s.label, s.start_s) for s in truth] + [(d.label, d.start_s) for d in found]
    for label, start_s in starts:
        first[label] = min(start_s, first.get(label, start_s))
    return sorted(first, key=lambda name: (first[name], name))


def _draw(
    path: Path,
    found: Sequence[Detection],
    truth: Sequence[Segment] | None,
    labels: list[str],
    end_s: float,
    title: str,
    tiou: float,
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    top = int(truth is not None)
    lanes = len(labels) + top
    height = max(2.2, _LANE_INCHES * lanes + 1.5)
    figure, axes = plt.subplots(figsize=(_WIDTH_INCHES, height), dpi=120, layout="constrained")
    try:
        axes.set_xlim(0, end_s)
        axes.set_ylim(max(lanes, 1), 0)
        for lane in range(1, lanes):
            axes.axhline(lane, color=_GREY, linewidth=0.6, zorder=0)
        if truth is not None:
            _draw_truth(axes, truth, found, labels, end_s, tiou)
        numbers: dict[str, list[float]] = {label: [] for label in labels}
        for item in found:
            lane = top + labels.index(item.label)
            _draw_detection(axes, item, lane, end_s)
            _draw_score(axes, item, lane, end_s, numbers[item.label])
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
        _legend(axes, found, truth is not None, tiou)
        figure.savefig(path)
    finally:
        plt.close(figure)


def _draw_truth(
    axes: Axes,
    truth: Sequence[Segment],
    found: Sequence[Detection],
    labels: list[str],
    end_s: float,
    tiou: float,
) -> None:
    hits = [d for d in found if d.right]
    for segment in truth:
        seen = any(d.label == segment.label and _iou(d.start_s, d.end_s, segment) >= tiou for d in hits)
        lane = 1 + labels.index(segment.label)
        width = segment.duration_s
        axes.broken_barh(
            [(segment.start_s, width)], (0.14, 0.72), facecolor=_GREY if seen else "white", edgecolor=_INK,
            linewidth=1.0, linestyle="-" if seen else (0, (3, 2)),
        )  # fmt: skip
        _text(axes, segment.start_s, width, 0.5, segment.label, end_s, color=_INK)
        # the same stretch in its class's lane, so that the eye need not travel
        axes.broken_barh(
            [(segment.start_s, width)], (lane + 0.02, 0.96), facecolor=_GREY, alpha=0.45, zorder=0.5
        )


def _draw_detection(axes: Axes, item: Detection, lane: int, end_s: float) -> None:
    wrong = item.right is False
    high = 0.16 + 0.7 * min(1.0, max(0.0, item.score))
    width = max(item.end_s - item.start_s, end_s * 1e-3)
    axes.broken_barh(
        [(item.start_s, width)], (lane + 0.95 - high, high), facecolor="white" if wrong else _BLUE,
        edgecolor=_ORANGE if wrong else _BLUE, hatch="////" if wrong else None, linewidth=1.2, zorder=2,
    )  # fmt: skip


def _draw_score(axes: Axes, item: Detection, lane: int, end_s: float, others: list[float]) -> None:
    """The number in the middle of its bar, unless a better detection's stands there (``others``: their
    middles).
    """
    middle = (item.start_s + item.end_s) / 2
    room = _NUMBER_LETTERS / _letters(1.0, end_s)
    if any(abs(middle - other) < room for other in others):
        return
    mark = {None: "", True: " ✓", False: " ✗"}[item.right]
    width = item.end_s - item.start_s
    if _text(axes, item.start_s, width, lane + 0.5, f"{item.score:.2f}{mark}", end_s, boxed=True):
        others.append(middle)


def _letters(seconds: float, end_s: float) -> float:
    """Letters that have room in so many seconds of a picture of ``end_s``; about 13 an inch at this size."""
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

    def clock(seconds: float) -> str:
        whole = round(seconds)
        hours, rest = divmod(whole, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if long else f"{rest // 60}:{rest % 60:02d}"

    axes.set_xticks(ticks, [clock(t) for t in ticks])
    axes.set_xlabel("time (h:mm:ss)" if long else "time (m:ss)")
    axes.grid(axis="x", color=_GREY, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def _legend(axes: Axes, found: Sequence[Detection], with_truth: bool, tiou: float) -> None:
    from matplotlib.patches import Patch

    if with_truth:
        right = sum(bool(d.right) for d in found)
        handles = [
            Patch(facecolor=_BLUE, edgecolor=_BLUE, label=f"✓ right (overlap ≥ {tiou:g}): {right}"),
            Patch(facecolor="white", edgecolor=_ORANGE, hatch="////", label=f"✗ wrong: {len(found) - right}"),
            Patch(facecolor=_GREY, edgecolor=_INK, label="truth, found"),
            Patch(facecolor="white", edgecolor=_INK, linestyle=(0, (3, 2)), label="truth, missed"),
        ]
    else:
        handles = [Patch(facecolor=_BLUE, edgecolor=_BLUE, label=f"detections: {len(found)}")]
    handles.append(Patch(facecolor="none", edgecolor="none", label="height and number: score"))
    axes.figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        handlelength=1.8,
    )


def choose_video(predictions: pd.DataFrame, video_id: str | None, known: Sequence[str] = ()) -> str:
    """The video to draw: the named one, whose id may be written otherwise here (the log says so), or the only
    one. EvaluationError lists what there is.
    """
    there = list(dict.fromkeys([*predictions["video_id"].astype(str), *known]))
    if video_id is not None:
        matches = match_ids([video_id], there)
        if matches.pairs:
            for note in matches.bent("id"):
                console.log.info("%s", note)
            return matches.pairs[video_id]
        wanted = "; ".join(matches.refused("id")) or f"no video {video_id!r}"
    elif len(there) == 1:
        return there[0]
    else:
        wanted = "say which video with --video"
    listed = ", ".join(there[:8]) + (f", … ({len(there)} in all)" if len(there) > 8 else "")
    raise EvaluationError(f"{wanted}: the predictions have {listed or 'none'}")
