"""Detections of many videos: while the device works on one, suppression of those before goes on beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.annotations import prediction_frame
from tal.errors import LongtalError
from tal.grid import FeatureGrid
from tal.inference.localize import Found, InferenceConfig, choose, find
from tal.inference.video_scores import VideoScores
from tal.localizer import Localizer

_THREADS = 2


@dataclass(frozen=True)
class VideoRows:
    """A video to detect in.

    Attributes
    ----------
    rows
        [T, C]; looked at before the next video is asked for, and not later.
    grid
        places row 0 in time.
    valid
        bool [T]: rows that hold something; None: all do.
    """

    id: str
    rows: NDArray[np.floating] | Tensor
    grid: FeatureGrid
    duration_s: float
    valid: NDArray[np.bool_] | None = None


@dataclass(frozen=True, repr=False)
class VideoResult:
    """What became of a video: its detections, columns PREDICTION_COLUMNS, best first, or its error."""

    id: str
    detections: pd.DataFrame | None
    error: LongtalError | None = None

    def __repr__(self) -> str:
        if self.detections is None:
            return f"VideoResult({self.id!r}, error={self.error!r})"
        return f"VideoResult({self.id!r}, {len(self.detections)} detections)"

    def get(self) -> pd.DataFrame:
        """The detections; raises the error where there is one."""
        if self.detections is None:
            assert self.error is not None
            raise self.error
        return self.detections


@dataclass(frozen=True)
class VideoDetector:
    """Finds actions in videos' rows, as prediction and validation both do it.

    Attributes
    ----------
    config
        ``max_segments`` is raised for long videos (`InferenceConfig.for_length`).
    labels
        class names, which ``video_scores`` may replace.
    """

    localizer: Localizer
    config: InferenceConfig
    labels: Sequence[str]
    video_scores: VideoScores | None = None

    def detect(self, video: VideoRows) -> pd.DataFrame:
        """Detections of one video: columns of PREDICTION_COLUMNS, best first."""
        return self._choose(video.id, self._find(video))

    def detect_all(
        self, videos: Iterable[VideoRows | VideoResult], threads: int | None = None
    ) -> Iterator[VideoResult]:
        """The results in the order of ``videos``; those among them that are results already stay.

        Parameters
        ----------
        threads
            that suppress beside the device; None: two, and none where the device is the CPU itself.
        """
        if threads is None:
            device = next(self.localizer.parameters(), torch.zeros(0)).device
            threads = 0 if device.type == "cpu" else _THREADS
        yield from _beside((self._begin(video) for video in videos), threads)

    def _begin(self, video: VideoRows | VideoResult) -> Callable[[], VideoResult]:
        """The device's part at once, and the rest to be called."""
        if isinstance(video, VideoResult):
            return lambda: video
        try:
            found = self._find(video)
        except LongtalError as error:
            failed = VideoResult(video.id, None, error)
            return lambda: failed
        return partial(self._end, video.id, found)

    def _end(self, video_id: str, found: Found) -> VideoResult:
        try:
            return VideoResult(video_id, self._choose(video_id, found))
        except LongtalError as error:
            return VideoResult(video_id, None, error)

    def _find(self, video: VideoRows) -> Found:
        return find(self.localizer, video.rows, video.grid, self.config, video.duration_s, video.valid)

    def _choose(self, video_id: str, found: Found) -> pd.DataFrame:
        unnamed = choose(found, self.config.for_length(found.duration_s))
        detections = self.config.named(unnamed, video_id, self.video_scores)
        names = [self.labels[index] for index in detections["label_index"]]
        start_s, end_s, score = (detections[name] for name in ("start_s", "end_s", "score"))
        return prediction_frame([video_id] * len(detections), start_s, end_s, names, score)


def _beside(work: Iterable[Callable[[], VideoResult]], threads: int) -> Iterator[VideoResult]:
    """What each returns, in order; threads call them, while the next come."""
    if not threads:
        for call in work:
            yield call()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="suppress") as pool:
        ahead: deque[Future[VideoResult]] = deque()
        for call in work:
            ahead.append(pool.submit(call))
            while ahead and (len(ahead) > 2 * threads or ahead[0].done()):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
