"""Validation: the detections that `Detector` would give of every validation video, mAP."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import pandas as pd
from accelerate import Accelerator
from accelerate.utils import gather_object

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.shared.console import log, progress
from pipelines.train.encode import encode_training_videos
from tal.annotations import PREDICTION_COLUMNS, AnnotationSet
from tal.errors import LongtalError, VideoError
from tal.inference.stored_video import stored_rows
from tal.inference.videos import VideoDetector, VideoResult, VideoRows
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

    A run that learns from stored rows alone reads them instead. ``mine``: those of the videos that this
    process measures.
    """

    def __init__(
        self,
        config: RunConfig,
        accelerator: Accelerator,
        videos: Sequence[TrainingVideo],
        mine: Sequence[TrainingVideo],
        ground_truth: AnnotationSet,
        labels: Sequence[str],
        store: FeatureStore | None,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.mine = mine
        self.ground_truth, self.labels = ground_truth, labels
        self.store = store
        self.inference = config.inference.with_window(config.window.num_rows)
        self.video_scores = config.inference.read_video_scores(labels, config.localizer.one_class)
        if self.video_scores is not None:
            self.video_scores, notes = self.video_scores.for_videos(video.id for video in videos)
            for note in notes:
                log.info("%s: %s", self.video_scores.source, note)

    def run(self, network: MemoryNetwork) -> Validation:
        """Detections of each process's share of the videos, gathered; mAP at ``train.val_tiou``.

        Raises
        ------
        LongtalError
            a video cannot be read, or nothing can be measured: in all processes, whichever has the video.
        """
        network.eval()
        searcher = VideoDetector(network.localizer, self.inference, self.labels, self.video_scores)
        found: dict[str, pd.DataFrame] = {}
        failure: LongtalError | None = None
        try:
            with progress("videos") as bar, closing(self._rows(network)) as videos:
                task = bar.add_task("validation", total=len(self.mine))
                for video in searcher.detect_all(videos):
                    # plain text: each video's frame has categories of its own, and the frames are joined
                    found[video.id] = video.get().astype({"video_id": "object", "label": "object"})
                    bar.advance(task)
        except LongtalError as error:
            failure = error
        self._raise_together(failure)
        frames = [found[video.id] for video in self.mine]
        detections = pd.concat([*frames, pd.DataFrame(columns=PREDICTION_COLUMNS)], ignore_index=True)
        if self.accelerator.num_processes > 1:
            records = gather_object(detections.to_dict("records"))
            detections = pd.DataFrame(records, columns=detections.columns)
        result = evaluate(self.ground_truth, detections, self.config.train.val_tiou)
        return Validation(detections, result)

    def _raise_together(self, failure: LongtalError | None) -> None:
        """The failure of this process, or of another one: those that wait for its detections would hang."""
        if self.accelerator.num_processes > 1:
            others = [text for text in gather_object([str(failure) if failure else ""]) if text]
            if others and failure is None:
                raise VideoError(others[0])
        if failure is not None:
            raise failure

    def _rows(self, network: MemoryNetwork) -> Generator[VideoRows | VideoResult, None, None]:
        """Stored rows of videos that have them, then those that are encoded now."""
        to_encode = []
        for video in self.mine:
            # A frozen encoder's rows are in the store already; encoding them again would give the same.
            if self.store is not None and (network.encoder is None or video.id in self.store):
                yield stored_rows(self.store, video.id)
            else:
                to_encode.append(video)
        if not to_encode:
            return
        assert network.encoder is not None
        by_id = {video.id: video for video in to_encode}
        encoded = encode_training_videos(network.encoder, to_encode, self.config, self.accelerator)
        with closing(encoded):
            for whole in encoded:
                video = by_id[whole.key]
                yield VideoRows(video.id, whole.rows, video.grid, video.duration_s)
