"""What to look at next: the doubtful first, and one item in five by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pandas as pd

from tal.annotations.builder import first_ids
from tal.annotations.corrections import Corrections, Sample, VideoCorrections
from tal.annotations.detection import Detection
from tal.annotations.spans import SLACK_S, Span, covers, holds, trim, union
from tal.errors import AnnotationError
from tal.review.doubts import (
    Detections,
    Doubt,
    Rival,
    Thresholds,
    disagreement,
    near_threshold,
    nothing_found,
)
from tal.review.options import QueueOptions
from tal.review.sampling import draws

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Item:
    """A stretch of a video to look at in full.

    ``probability`` is that of the draw, of a random one alone; ``detection`` is what the doubt is about.
    """

    video_id: str
    start_s: float
    end_s: float
    reason: str
    detail: str = ""
    probability: float | None = None
    detection: Detection | None = None

    def to_json(self) -> dict[str, Any]:
        """What `longtal review --next --json` prints of it."""
        about = self.detection
        return {
            "video": self.video_id,
            "segment": [self.start_s, self.end_s],
            "reason": self.reason,
            "detail": self.detail,
            **({} if self.probability is None else {"probability": self.probability}),
            **({} if about is None else {"detection": _plain(about)}),
        }


def _plain(detection: Detection) -> dict[str, Any]:
    return {
        "label": detection.label,
        "segment": [detection.start_s, detection.end_s],
        "score": detection.score,
    }


@dataclass(frozen=True, slots=True)
class Queue:
    """``items`` in their order; ``drawn``: random stretches by video that have to be kept as ``sampled``.

    Some of those drawn were reviewed for another reason already: nobody needs to look again, and they count.
    """

    items: tuple[Item, ...]
    drawn: Mapping[str, tuple[Sample, ...]]


def next_items(
    predictions: pd.DataFrame,
    durations: Mapping[str, float],
    thresholds: Thresholds,
    corrections: Corrections | None = None,
    others: Sequence[Rival] = (),
    count: int = 20,
    seed: int = 0,
    options: QueueOptions | None = None,
) -> Queue:
    """The next stretches to review; the same arguments give the same list.

    Reasons of doubt take turns: near the threshold, disagreement with ``others``, nothing found. Each fifth
    item is random; where nothing is doubtful any more, all are.

    Parameters
    ----------
    predictions
        columns video_id, start_s, end_s, label, score; ids as in ``durations`` and ``corrections``.
    durations
        seconds of every video that can be reviewed; predictions of others are not looked at.
    thresholds
        score from which a detection counts, one or by label.
    corrections
        what was reviewed and drawn so far: reviewed time is not offered again, and a random stretch that was
        drawn before and not yet reviewed comes first.
    others
        other predictions of the same videos.

    Raises
    ------
    AnnotationError
        a video of the predictions has no duration.
    """
    options = options or QueueOptions()
    if missing := sorted({str(v) for v in predictions["video_id"].unique()} - set(durations)):
        raise AnnotationError(
            f"no duration is known of {len(missing)} predicted videos: {first_ids(missing)}"
        )
    found = Detections(predictions, thresholds)
    rivals = [replace(rival, predictions=_of_videos(rival.predictions, durations)) for rival in others]
    known = corrections.videos if corrections is not None else {}
    reviewed = {video: known[video].reviewed if video in known else () for video in durations}
    chance = _Chance(durations, known, seed, options)
    wanted = (2 * count + options.random_every) // (2 * options.random_every)
    random_items = list(islice(chance.items(wanted), wanted))
    taken = {video: list(spans) for video, spans in reviewed.items()}
    for item in random_items:
        taken[item.video_id].append((item.start_s, item.end_s))
    sources = (
        near_threshold(found),
        disagreement(found, rivals),
        nothing_found(found, durations, reviewed, options.empty_s, options.stretch_s),
    )
    doubtful = _in_turns(sources, durations, taken, options.context_s)
    doubts = list(islice(doubtful, count - len(random_items)))
    if (lacking := count - len(random_items) - len(doubts)) > 0:
        random_items += islice(chance.items(None), lacking)
    return Queue(tuple(_mixed(doubts, random_items, options.random_every)), chance.drawn())


def _of_videos(predictions: pd.DataFrame, durations: Mapping[str, float]) -> pd.DataFrame:
    return predictions[predictions["video_id"].astype(str).isin(list(durations))]


class _Chance:
    """Random items: those drawn before and still to be reviewed, then new draws.

    A draw that falls on reviewed time is kept and gives no item, so that the sample is one of all time.
    """

    def __init__(
        self,
        durations: Mapping[str, float],
        known: Mapping[str, VideoCorrections],
        seed: int,
        options: QueueOptions,
    ) -> None:
        before = {video: known[video].sampled for video in durations if video in known}
        self._reviewed = {video: known[video].reviewed for video in before}
        self._waiting = iter([(video, s) for video, drawn in before.items() for s in drawn])
        self._new = draws(durations, options.stretch_s, seed, before)
        self._drawn: dict[str, list[Sample]] = {}

    def items(self, most_draws: int | None) -> Iterator[Item]:
        """Items of so many stretches; None: of all that there are."""
        spent = 0
        for video, sample in self._waiting:
            if not self._seen(video, sample):
                yield _random_item(video, sample)
                spent += 1
                if spent == most_draws:
                    return
        for video, sample in self._new:
            self._drawn.setdefault(video, []).append(sample)
            spent += 1
            if not self._seen(video, sample):
                yield _random_item(video, sample)
            if spent == most_draws:
                return

    def _seen(self, video: str, sample: Sample) -> bool:
        return covers(self._reviewed.get(video, ()), (sample.start_s, sample.end_s))

    def drawn(self) -> dict[str, tuple[Sample, ...]]:
        return {video: tuple(samples) for video, samples in self._drawn.items()}


def _random_item(video: str, sample: Sample) -> Item:
    return Item(
        video,
        sample.start_s,
        sample.end_s,
        RANDOM,
        f"one of {1 / sample.probability:.0f} stretches",
        sample.probability,
    )


def _in_turns(
    sources: Sequence[Iterator[Doubt]],
    durations: Mapping[str, float],
    taken: dict[str, list[Span]],
    context_s: float,
) -> Iterator[Item]:
    """One item of each source in turn. ``taken`` time is not offered, and grows with each item."""
    waiting = list(sources)
    while waiting:
        for source in list(waiting):
            for doubt in source:
                if (item := _item(doubt, durations, taken, context_s)) is not None:
                    taken[doubt.video_id].append((item.start_s, item.end_s))
                    yield item
                    break
            else:
                waiting.remove(source)


def _item(
    doubt: Doubt, durations: Mapping[str, float], taken: Mapping[str, list[Span]], context_s: float
) -> Item | None:
    """A doubt as a stretch that is not taken; None where its middle is."""
    video, (start, end) = doubt.video_id, doubt.core
    before = union(taken[video])
    duration_s = durations[video]
    if holds(before, (start + end) / 2) or start >= duration_s:
        return None
    around = context_s if doubt.detection is not None else 0.0
    first, last = trim((max(0.0, start - around), min(duration_s, end + around)), before)
    if last - first <= SLACK_S:
        return None
    return Item(video, first, last, doubt.reason, doubt.detail, None, doubt.detection)


def _mixed(doubts: Sequence[Item], chosen: Sequence[Item], every: int) -> Iterator[Item]:
    """Every ``every``-th item is a random one, as long as there are both."""
    left, right = iter(doubts), iter(chosen)
    for place in range(1, len(doubts) + len(chosen) + 1):
        sides = (right, left) if place % every == 0 else (left, right)
        yield next(item for side in sides for item in islice(side, 1))


def record_samples(corrections: Corrections, queue: Queue) -> Corrections:
    """Corrections that also hold what the queue drew; without it nothing can be estimated later."""
    videos = dict(corrections.videos)
    for video, drawn in queue.drawn.items():
        old = videos.get(video, VideoCorrections(video))
        videos[video] = replace(old, sampled=(*old.sampled, *drawn))
    return Corrections(corrections.labels, videos)
