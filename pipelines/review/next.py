"""What to look at next, and what is known of all time so far: `longtal review --next`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.report.run_folder import read_predicted, read_run
from pipelines.review.media import read_media
from pipelines.review.output import OutputFile, ReviewLockedError
from pipelines.review.rows import ask_rows
from pipelines.review.run import Review, ReviewError, predictions_of
from pipelines.review.state import ReviewState
from tal.annotations import PREDICTION_COLUMNS, prediction_frame, read_predictions
from tal.annotations.builder import first_ids
from tal.annotations.clock import clock
from tal.annotations.corrections import Corrections, read_corrections
from tal.annotations.ids import align_ids
from tal.inference.thresholds import read_thresholds
from tal.review import ENOUGH, Estimate, Queue, estimate, next_items, record_samples
from tal.review.doubts import Detections, Rival, Thresholds
from tal.review.estimates import Interval


@dataclass(frozen=True)
class NextOptions:
    """How to choose: how many stretches, the score from which a detection counts, who else is asked.

    ``against``: other predictions; ``against_rows``: the model whose row classifier is asked.
    """

    count: int
    threshold: float | None = None
    thresholds_file: Path | None = None
    against: tuple[Path, ...] = ()
    against_rows: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Sitting:
    """What to look at, and what is known before it is looked at."""

    queue: Queue
    estimate: Estimate
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        items = [item.to_json() for item in self.queue.items]
        return {"next": items, **self.estimate.to_json(), "notes": list(self.notes)}


def look_next(source: Path | None, review: Review, out: Path, options: NextOptions) -> Sitting:
    """Choose the next stretches, and keep in ``out`` those that were drawn by chance.

    Where a page is open on ``out``, nothing is written: the same stretches are drawn by the next call, which
    notes them then.

    Raises
    ------
    ReviewError
        no thresholds are known, or not how long a video is, or the rows cannot be asked.
    LongtalError
        a file cannot be read or written.
    """
    try:
        with OutputFile(out) as file:
            return look_on(source, review, ReviewState(review, file), options)
    except ReviewLockedError:
        there = read_corrections(out) if out.exists() else Corrections(review.labels, {})
        known = {v.id: there.videos.get(v.id, v.known) for v in review.videos}
        note = (
            f"{out} is open in another `longtal review`: random stretches are noted by the next call after it"
        )
        thresholds = _thresholds(source, options)
        return _look(review, Corrections(there.labels, known), thresholds, options, (note,))


def look_on(source: Path | None, review: Review, state: ReviewState, options: NextOptions) -> Sitting:
    """Choose the next stretches as a review stands, and have it keep those that were drawn by chance.

    Raises
    ------
    ReviewError, LongtalError
        as `look_next`.
    """
    sitting = _look(review, state.corrections(), _thresholds(source, options), options)
    state.keep_samples(sitting.queue.drawn)
    return sitting


def _look(
    review: Review,
    corrections: Corrections,
    thresholds: Thresholds,
    options: NextOptions,
    notes: tuple[str, ...] = (),
) -> Sitting:
    durations, unknown = _durations(review, corrections)
    if unknown:
        notes = (*notes, f"{len(unknown)} videos are left out, of unknown length: {first_ids(unknown)}")
    detections = [found for video in review.videos if video.id in durations for found in video.detections]
    found = prediction_frame(*([getattr(d, name) for d in detections] for name in PREDICTION_COLUMNS))
    others: list[Rival] = []
    for path in options.against:
        aligned, said = align_ids(read_predictions(predictions_of(path)), list(durations))
        others.append(Rival(aligned, own_thresholds(path) or thresholds, str(path)))
        notes = (*notes, *(f"{path.name}: {note}" for note in said))
    if options.against_rows is not None:
        files = {v.id: v.file for v in review.videos if v.file is not None and v.id in durations}
        rival, about_rows = ask_rows(options.against_rows, Detections(found, thresholds), files)
        others.append(rival)
        notes = (*notes, *about_rows)
    queue = next_items(found, durations, thresholds, corrections, others, options.count, options.seed)
    with_drawn = record_samples(corrections, queue)
    return Sitting(queue, estimate(found, durations, thresholds, with_drawn), notes)


def _thresholds(source: Path | None, options: NextOptions) -> Thresholds:
    """Those that were given, else the source's own."""
    if options.threshold is not None:
        return options.threshold
    if source is None:
        return 0.0  # no detection has to reach it
    if options.thresholds_file is not None:
        return read_thresholds(options.thresholds_file)
    if known := own_thresholds(source):
        return known
    raise ReviewError(
        "no score is known from which a detection counts: give --threshold 0.3, or the model's "
        "--thresholds model/thresholds.json"
    )


def own_thresholds(source: Path) -> dict[str, float] | None:
    """A run's, or those that `predict` used, whose manifest lies beside its predictions."""
    if (run := read_run(source)) is not None:
        return run.thresholds
    if source.is_dir():
        return read_predicted(source).thresholds
    return read_predicted(source.parent).thresholds if source.name == "predictions.json" else None


def _durations(review: Review, corrections: Corrections) -> tuple[dict[str, float], list[str]]:
    """Seconds of each video, from the corrections and annotations, else from its file; and those unknown."""
    durations: dict[str, float] = {}
    unknown = []
    for video in review.videos:
        known = corrections.videos[video.id].duration_s
        if known is not None:
            durations[video.id] = known
        elif video.file is not None:
            durations[video.id] = read_media(video.file).duration_s
        else:
            unknown.append(video.id)
    if not durations:
        raise ReviewError(
            f"it is not known how long the videos are ({first_ids(unknown)}): give --videos DIR with their "
            "files, or --annotations that say so"
        )
    return durations, unknown


def items_table(queue: Queue) -> pd.DataFrame:
    """The stretches in their order, for people."""
    return pd.DataFrame(
        [
            {
                "video": item.video_id,
                "from": f"{item.start_s:.1f}",
                "to": f"{item.end_s:.1f}",
                "why": item.reason,
                "what": item.detail,
            }
            for item in queue.items
        ],
        columns=["video", "from", "to", "why", "what"],
    )


def known_lines(told: Estimate) -> Sequence[str]:
    """What is known so far, for people."""
    whole = f"reviewed {clock(told.reviewed_s)} of {clock(told.total_s)}"
    lines = [f"{whole}; of {told.drawn} random stretches {told.seen}"]
    if told.precision is not None:
        lines.append(f"precision {_percent(told.precision)}")
    elif told.among_reviewed is not None:
        share = f"{told.right} of {told.judged} detections are right, {told.among_reviewed:.0%}"
        lines.append(
            f"among reviewed: {share}; doubtful ones were looked at first, so this is not the precision"
        )
    if told.recall is not None:
        lines.append(f"recall {_percent(told.recall)}")
    if told.precision is None or told.recall is None:
        lacking = " and ".join(
            name for name, part in (("precision", told.precision), ("recall", told.recall)) if part is None
        )
        lines.append(
            f"{lacking} of all time: known from {ENOUGH} reviewed random stretches on that hold something"
        )
    return lines


def _percent(part: Interval) -> str:
    ends = f"{part.low:.0%} to {part.high:.0%}"
    return f"{part.value:.0%} ({ends}, 95 %), of all time, by {part.stretches} random stretches"
