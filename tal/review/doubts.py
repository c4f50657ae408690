"""Stretches that a person should look at because the model may be wrong there."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tal.annotations.detection import Detection
from tal.annotations.predictions import PREDICTION_COLUMNS
from tal.annotations.spans import Span, subtract, union
from tal.metrics.matching import tiou

NEAR, DISAGREEMENT, EMPTY = "near threshold", "disagreement", "nothing found"
# Two segments of one label are the same action from this overlap on.
SAME_TIOU = 0.5

Thresholds = Mapping[str, float] | float
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A stretch, why it is doubtful, and the detection that it is about; ``core`` is what has to be seen."""

    video_id: str
    core: Span
    reason: str
    detail: str
    detection: Detection | None = None


@dataclass(frozen=True)
class Rival:
    """Other predictions of the same videos: another run's, another decoder's, the row classifier's.

    Attributes
    ----------
    predictions
        columns video_id, start_s, end_s, label, score.
    thresholds
        score from which a detection counts, one or by label.
    name
        where they stand, for people.
    videos
        those that it has looked at: nothing is said of the others; None: all.
    """

    predictions: pd.DataFrame
    thresholds: Thresholds
    name: str
    videos: Collection[str] | None = None


class Detections:
    """Detections of all videos, and which of them pass their class's threshold.

    Parameters
    ----------
    predictions
        columns video_id, start_s, end_s, label, score.
    thresholds
        one, or by label; a label that is not there has the mean of those that are.
    """

    def __init__(self, predictions: pd.DataFrame, thresholds: Thresholds) -> None:
        good = predictions["end_s"] > predictions["start_s"]
        frame = predictions.loc[good, list(PREDICTION_COLUMNS)].reset_index(drop=True)
        self.video = frame["video_id"].astype(str).to_numpy(object)
        self.label = frame["label"].astype(str).to_numpy(object)
        self.start_s = frame["start_s"].to_numpy(np.float64)
        self.end_s = frame["end_s"].to_numpy(np.float64)
        self.score = frame["score"].to_numpy(np.float64)
        self.floor = _floors(self.label, thresholds)
        self.shown = self.score >= self.floor
        self._groups: dict[tuple[str, str], list[int]] = {}
        for i, key in enumerate(zip(self.video, self.label, strict=True)):
            self._groups.setdefault(key, []).append(i)

    def __len__(self) -> int:
        return len(self.score)

    def row(self, i: int) -> Detection:
        """One detection."""
        return Detection(
            self.video[i], float(self.start_s[i]), float(self.end_s[i]), self.label[i], float(self.score[i])
        )

    def same(self, video: str, label: str, start_s: float, end_s: float) -> NDArray[np.int64]:
        """Detections [n] of this video and label that overlap a segment by `SAME_TIOU` or more."""
        rows = np.array(self._groups.get((video, label), ()), dtype=np.int64)
        ends = (np.full(len(rows), start_s), np.full(len(rows), end_s))
        return rows[tiou(self.start_s[rows], self.end_s[rows], *ends) >= SAME_TIOU]

    def weak_by_video(self) -> dict[str, NDArray[np.int64]]:
        """Video -> its detections below the threshold, [n]."""
        rows = np.flatnonzero(~self.shown)
        groups: dict[str, list[int]] = {}
        for i in rows.tolist():
            groups.setdefault(self.video[i], []).append(i)
        return {video: np.array(places) for video, places in groups.items()}

    def shown_spans(self) -> dict[str, tuple[Span, ...]]:
        """Video -> where something is found."""
        spans: dict[str, list[Span]] = {}
        for i in np.flatnonzero(self.shown):
            spans.setdefault(self.video[i], []).append((float(self.start_s[i]), float(self.end_s[i])))
        return {video: union(found) for video, found in spans.items()}


def _floors(labels: NDArray[np.object_], thresholds: Thresholds) -> FloatArray:
    """The threshold of each detection, [P]."""
    if not isinstance(thresholds, Mapping):
        return np.full(len(labels), float(thresholds))
    finite = [value for value in thresholds.values() if np.isfinite(value)]
    other = float(np.mean(finite)) if finite else 0.0
    return np.array([thresholds.get(label, other) for label in labels], dtype=np.float64)


def near_threshold(found: Detections) -> Iterator[Doubt]:
    """Detections by how near their score is to their class's threshold.

    One below it that repeats a detection above it is left out: nothing depends on it.
    """
    distance = np.abs(found.score - found.floor)
    for i in np.argsort(distance, kind="stable"):
        if not np.isfinite(distance[i]):
            return
        d = found.row(int(i))
        if not found.shown[i] and found.shown[found.same(d.video_id, d.label, d.start_s, d.end_s)].any():
            continue
        side = "above" if found.shown[i] else "below"
        detail = f"{d.label} {d.score:.2f}, {side} its threshold {found.floor[i]:.2f}"
        yield Doubt(d.video_id, (d.start_s, d.end_s), NEAR, detail, d)


def disagreement(found: Detections, rivals: Sequence[Rival]) -> Iterator[Doubt]:
    """Detections that one set of predictions shows and another does not, by how much the scores differ."""
    doubts = []
    for rival in rivals:
        other = Detections(rival.predictions, rival.thresholds)
        for mine, theirs, where in ((found, other, "here"), (other, found, f"in {rival.name}")):
            for i in np.flatnonzero(mine.shown):
                d = mine.row(int(i))
                if rival.videos is not None and d.video_id not in rival.videos:
                    continue
                same = theirs.same(d.video_id, d.label, d.start_s, d.end_s)
                if theirs.shown[same].any():
                    continue
                best = float(theirs.score[same].max()) if len(same) else 0.0
                detail = f"{d.label} {d.score:.2f} {where} alone; at most {best:.2f} elsewhere"
                doubt = Doubt(d.video_id, (d.start_s, d.end_s), DISAGREEMENT, detail, d)
                doubts.append((best - d.score, doubt))
    yield from (doubt for _, doubt in sorted(doubts, key=lambda pair: pair[0]))


def nothing_found(
    found: Detections,
    durations: Mapping[str, float],
    reviewed: Mapping[str, Sequence[Span]],
    empty_s: float,
    stretch_s: float,
) -> Iterator[Doubt]:
    """Stretches without detections that nobody has reviewed, the longest first.

    Of a longer one than ``stretch_s`` the part around its best detection below the threshold comes first, or
    its middle; what remains of it goes back into the order.
    """
    shown = found.shown_spans()
    gaps = [
        (start - end, video, start, end)
        for video, duration_s in durations.items()
        for start, end in subtract(
            (0.0, duration_s), union([*shown.get(video, ()), *reviewed.get(video, ())])
        )
        if end - start >= empty_s
    ]
    heapq.heapify(gaps)
    weak = found.weak_by_video()
    while gaps:
        length, video, start, end = heapq.heappop(gaps)
        first, last = _part(found, weak.get(video, np.zeros(0, np.int64)), start, end, stretch_s)
        for a, b in ((start, first), (last, end)):
            if b - a >= empty_s:
                heapq.heappush(gaps, (a - b, video, a, b))
        yield Doubt(video, (first, last), EMPTY, f"no detection for {-length:.0f} s")


def _part(found: Detections, weak: NDArray[np.int64], start: float, end: float, stretch_s: float) -> Span:
    """At most ``stretch_s`` of a stretch, around its best weak detection or its middle."""
    if end - start <= stretch_s:
        return start, end
    centers = (found.start_s[weak] + found.end_s[weak]) / 2
    inside = np.flatnonzero((centers >= start) & (centers < end))
    center = (start + end) / 2
    if len(inside):
        center = float(centers[inside[np.argmax(found.score[weak[inside]])]])
    first = min(max(start, center - stretch_s / 2), end - stretch_s)
    return first, first + stretch_s
