"""The row classifier's opinion of what a decoder found, for `longtal review --next --against-rows`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featstore import FeatureStore
from pipelines.config import RunConfig, parse_config, read_mapping
from pipelines.review.run import ReviewError
from pipelines.shared.console import log
from pipelines.shared.run_folder import located
from tal.annotations.builder import first_ids
from tal.annotations.ids import match_ids
from tal.inference.detector import Detector
from tal.inference.row_scores import row_scores
from tal.inference.videos import VideoResult, VideoRows
from tal.review.doubts import Detections, Rival
from tal.review.rows import row_rival


def ask_rows(model: Path, found: Detections, files: Mapping[str, Path]) -> tuple[Rival, tuple[str, ...]]:
    """What the row classifier of a run or model folder says of detections, beside notes.

    Rows come from the store that the model was trained on, where its encoder did not learn and the store has
    the video; else the video is encoded.

    Parameters
    ----------
    files
        id -> video file.

    Raises
    ------
    ReviewError
        the model has no row classifier, does not know a label, or there are no rows of any video.
    LongtalError
        the model cannot be read.
    """
    detector = Detector.load(model)
    classifier = detector.localizer.row_classifier
    if classifier is None:
        raise ReviewError(
            f"{model} has no row classifier: it was trained with localizer.row_loss 0; --against compares "
            "with another run's predictions"
        )
    labels = _label_indices(found, detector, classifier.num_classes, model)
    scores = np.zeros(len(found))
    videos, notes = set(), []
    failed: dict[str, str] = {}
    rows_of = {video: np.flatnonzero(found.video == video) for video in dict.fromkeys(found.video)}
    for video in _rows(detector, _config(model, detector), list(rows_of), files):
        if isinstance(video, VideoResult):
            failed[video.id] = str(video.error)
            continue
        at = rows_of[video.id]
        segments = np.stack([found.start_s[at], found.end_s[at]], axis=1)
        scores[at] = row_scores(detector.localizer, video, segments, labels[at])
        videos.add(video.id)
    if missing := [video for video in rows_of if video not in videos and video not in failed]:
        notes.append(
            f"{len(missing)} videos have neither rows nor a file, and are not compared with the rows: "
            f"{first_ids(missing)}"
        )
    if failed:
        first = next(iter(failed.values()))
        notes.append(f"{len(failed)} videos are not compared with the rows; the first: {first}")
    if rows_of and not videos:
        raise ReviewError(f"no rows to compare with: {notes[0]}")
    return row_rival(found, scores, videos), tuple(notes)


def _label_indices(found: Detections, detector: Detector, num_classes: int, model: Path) -> NDArray[np.int64]:
    """The classifier's class of each detection, int [P]; 0 where it knows one class alone."""
    index = {label: number if num_classes > 1 else 0 for number, label in enumerate(detector.labels)}
    if strange := sorted({label for label in found.label if label not in index}):
        raise ReviewError(f"{model} does not know {strange[0]!r}: it is not the model of these detections")
    return np.array([index[label] for label in found.label], dtype=np.int64)


def _config(model: Path, detector: Detector) -> RunConfig:
    """How the model was trained: of a run with its paths as they are from here."""
    run = detector.folder.path.parent
    if (run / "config.yaml").is_file() and (run / "log.jsonl").is_file():
        return parse_config(located(read_mapping(run / "config.yaml"), run), str(run / "config.yaml"))
    return parse_config(detector.folder.tree, str(detector.folder.path / "config.yaml"))


def _rows(
    detector: Detector, config: RunConfig, wanted: list[str], files: Mapping[str, Path]
) -> Iterator[VideoRows | VideoResult]:
    """Rows of the videos that have some, or a file, under the ids of the detections."""
    stored: Mapping[str, str] = {}
    with _store(config) as store:
        if store is not None:
            stored = match_ids(wanted, store.video_ids).pairs
            mine = {theirs: ours for ours, theirs in stored.items()}
            for video in detector.rows_of_store(store, mine):
                yield _named(video, mine[video.id])
    rest = {video: files[video] for video in wanted if video not in stored and video in files}
    if not rest or detector.encoder is None:
        return
    log.info("encoding %d videos for the row classifier", len(rest))
    with closing(detector.rows_of_videos(rest)) as encoded:
        yield from encoded


@contextmanager
def _store(config: RunConfig) -> Iterator[FeatureStore | None]:
    """The store whose rows the model's are; None where its encoder has learnt since, or it is gone."""
    if config.end_to_end or not config.data.store or not Path(config.data.store).exists():
        yield None
        return
    with FeatureStore.open(config.data.store) as store:
        yield store


def _named(video: VideoRows | VideoResult, name: str) -> VideoRows | VideoResult:
    if isinstance(video, VideoResult):
        return VideoResult(name, None, video.error)
    return VideoRows(name, video.rows, video.grid, video.duration_s, video.valid)
