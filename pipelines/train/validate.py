"""Validation: the detections that `Detector` would give of every validation video, mAP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.shared.console import log, progress
from tal.annotations import PREDICTION_COLUMNS, AnnotationSet
from tal.encoders import encode_whole
from tal.inference.localize import detect
from tal.inference.stored_video import read_stored_video
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import TrainingVideo
from tal.metrics import EvaluationResult, evaluate


@dataclass(frozen=True)
class Validation:
    """Predictions of all validation videos and what they are worth."""

    predictions: pd.DataFrame
    result: EvaluationResult


class Validator:
    """Runs the network as inference does: every clip is encoded.

    A run that learns from stored rows alone reads them instead.
    """

    def __init__(
        self,
        config: RunConfig,
        accelerator: Accelerator,
        videos: Sequence[TrainingVideo],
        ground_truth: AnnotationSet,
        labels: Sequence[str],
        store: FeatureStore | None,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.videos, self.ground_truth, self.labels = videos, ground_truth, labels
        self.store = store
        self.inference = config.inference.with_window(config.window.num_rows)
        self.video_scores = config.inference.read_video_scores(labels, config.localizer.one_class)
        if self.video_scores is not None:
            self.video_scores, notes = self.video_scores.for_videos(video.id for video in videos)
            for note in notes:
                log.info("%s: %s", self.video_scores.source, note)

    def run(self, network: MemoryNetwork) -> Validation:
        """Detections of each process's share of the videos, gathered; mAP at ``train.val_tiou``."""
        mine = self.videos[self.accelerator.process_index :: self.accelerator.num_processes]
        frames: list[pd.DataFrame] = []
        network.eval()
        with progress("videos") as bar:
            task = bar.add_task("validation", total=len(mine))
            for video in mine:
                frames.append(self._detect(network, video))
                bar.advance(task)
        detections = pd.concat([*frames, pd.DataFrame(columns=PREDICTION_COLUMNS)], ignore_index=True)
        if self.accelerator.num_processes > 1:
            records = gather_object(detections.to_dict("records"))
            detections = pd.DataFrame(records, columns=detections.columns)
        result = evaluate(self.ground_truth, detections, self.config.train.val_tiou)
        return Validation(detections, result)

    @contextmanager
    def _rows(
        self, network: MemoryNetwork, video: TrainingVideo
    ) -> Iterator[tuple[NDArray[np.floating], NDArray[np.bool_] | None, float]]:
        """(rows [T, C], which of them were written, seconds): stored ones, or encoded now."""
        # A frozen encoder's rows are in the store already; encoding them again would give the same.
        if self.store is not None and (network.encoder is None or video.id in self.store):
            stored = read_stored_video(self.store, video.id)
            yield stored.rows, stored.valid, stored.duration_s
            return
        assert network.encoder is not None
        reader, device = self.config.data.reader, self.accelerator.device
        with encode_whole(network.encoder, video.path, video.fps, video.num_rows, reader, device) as rows:
            yield rows, None, video.duration_s

    def _detect(self, network: MemoryNetwork, video: TrainingVideo) -> pd.DataFrame:
        with self._rows(network, video) as (rows, valid, duration_s):
            detections = detect(
                network.localizer,
                rows,
                video.grid,
                self.inference,
                duration_s,
                video.id,
                self.labels,
                self.video_scores,
                valid,
            )
        # plain text: each video's frame has categories of its own, and the frames are joined
        return detections.astype({"video_id": "object", "label": "object"})
