"""Validation: detections of every validation video, mAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from accelerate import Accelerator
from accelerate.utils import gather_object

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.console import progress
from pipelines.train.encode import encode_whole
from tal.annotations import PREDICTION_COLUMNS, AnnotationSet
from tal.inference import InferenceConfig, localize
from tal.memory.network import MemoryNetwork
from tal.memory.plan import TrainingVideo
from tal.metrics import EvaluationResult, evaluate


@dataclass(frozen=True)
class Validation:
    """Predictions of all validation videos and what they are worth."""

    predictions: pd.DataFrame
    result: EvaluationResult


class Validator:
    """Runs the network as inference does: every clip encoded; a run that learns from stored rows alone reads
    them."""

    def __init__(
        self,
        config: RunConfig,
        accelerator: Accelerator,
        videos: Sequence[TrainingVideo],
        truth: AnnotationSet,
        labels: Sequence[str],
        store: FeatureStore | None,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.videos, self.truth, self.labels = videos, truth, labels
        self.store = store
        self.inference = with_window(config.inference, config.window.num_rows)
        self.video_scores = config.inference.read_video_scores(labels, config.localizer.one_class)

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
        found = pd.concat([*frames, pd.DataFrame(columns=PREDICTION_COLUMNS)], ignore_index=True)
        if self.accelerator.num_processes > 1:
            found = pd.DataFrame(gather_object(found.to_dict("records")), columns=found.columns)
        result = evaluate(self.truth, found, self.config.train.val_tiou)
        return Validation(found, result)

    def _detect(self, network: MemoryNetwork, video: TrainingVideo) -> pd.DataFrame:
        # A frozen encoder's rows are in the store already; encoding them again would give the same.
        if self.store is not None and (network.encoder is None or video.id in self.store):
            rows = self.store.read(video.id, 0, video.num_rows)
        else:
            assert network.encoder is not None
            rows = encode_whole(network.encoder, video, self.accelerator.device)
        found = localize(network.localizer, rows, video.grid, self.inference, video.duration_s)
        found = self.inference.named(found, video.id, self.video_scores)
        return pd.DataFrame(
            {
                "video_id": video.id,
                "start_s": found["start_s"],
                "end_s": found["end_s"],
                "label": [self.labels[i] for i in found["label_index"]],
                "score": found["score"],
            }
        )


def with_window(config: InferenceConfig, num_rows: int) -> InferenceConfig:
    """The configuration with the training window's length where none is given."""
    return config if config.window_rows else config.model_copy(update={"window_rows": num_rows})
