"""`Detector`: a trained model that finds actions in video files, or in rows of a feature store."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from featstore import FeatureStore
from tal.device import choose_device
from tal.encoders import Encoder, build_encoder, encode_whole
from tal.encoders.streaming import Progress
from tal.errors import CheckpointError, WeightsError
from tal.grid import FeatureGrid, FrameGrid
from tal.inference.localize import detect
from tal.inference.model_folder import ModelFolder, read_model, write_model
from tal.inference.stored_video import read_stored_video
from tal.localizer import Localizer
from tal.shared.weights import load_strict
from tal.video import open_video

log = logging.getLogger("longtal.model")


class Detector:
    """A trained model that finds actions; made by `Detector.load`.

    Attributes
    ----------
    folder, config
        the model folder that it was read from, and what of its configuration prediction needs.
    labels
        class names in the model's order.
    thresholds
        calibrated scores by class; may be empty.
    encoder
        None: the model was trained on stored features and sees no videos.
    localizer, device
        the network that finds segments in rows, and where both are.
    video_scores
        video-level class scores that name the segments, if there are any.
    """

    def __init__(
        self, folder: ModelFolder, encoder: Encoder | None, localizer: Localizer, device: torch.device
    ) -> None:
        self.folder = folder
        self.config = folder.config
        self.labels = folder.labels
        self.thresholds = folder.thresholds
        self.encoder = encoder
        self.localizer = localizer
        self.device = device
        self._checked: Path | None = None
        self.video_scores = folder.config.windows.read_video_scores(
            folder.labels, folder.config.localizer.one_class
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Detector:
        """Load a model folder, or the model of a run folder.

        Raises
        ------
        CheckpointError
            something is missing, damaged or does not fit; the message lists it.
        """
        folder = read_model(path)
        config, weights = folder.config, folder.weights()
        where = choose_device(device)
        encoder = _build_encoder(folder, weights) if config.encoder is not None else None
        channels = encoder.channels if encoder is not None else config.channels
        if not channels:
            raise CheckpointError(
                f"{folder.path}: it has no encoder, and provenance.json gives no features.channels"
            )
        localizer = Localizer(config.localizer, channels, len(folder.labels), config.window_rows)
        if encoder is not None:
            encoder.to(where).eval()
        _load(localizer, weights, "localizer.", folder.path)
        return cls(folder, encoder, localizer.to(where).eval(), where)

    def for_videos(self, video_ids: Iterable[str]) -> tuple[Detector, list[str]]:
        """This detector with its video-level class scores, if it has any, under the ids of these videos.

        Beside it notes on ids that are written otherwise there.
        """
        if self.video_scores is None:
            return self, []
        paired = copy.copy(self)
        paired.video_scores, notes = self.video_scores.for_videos(video_ids)
        return paired, [f"{self.video_scores.source}: {note}" for note in notes]

    def predict(
        self, path: str | os.PathLike[str], video_id: str | None = None, on_progress: Progress | None = None
    ) -> pd.DataFrame:
        """All detections in a video file: columns video_id, start_s, end_s, label, score; best first.

        The file is decoded and encoded once, clip by clip; memory does not grow with its length. `confident`
        leaves what passes the calibrated thresholds.

        Parameters
        ----------
        video_id
            None: the file's name without suffix.
        on_progress
            called with (rows done, rows in all).

        Raises
        ------
        VideoError
            the file cannot be decoded.
        ConfigError
            the model's reader is not installed.
        CheckpointError
            the model has no encoder.
        """
        if self.encoder is None:
            raise CheckpointError(
                f"{self.folder.path} was trained on stored features and has no encoder to see videos with; "
                f"predict from a feature store (predict_store; --from-store)"
            )
        with open_video(path, self.config.reader) as video:
            info = video.info
        sampling = FrameGrid(self.config.fps).capped(info.duration_s, self.config.max_frames)
        grid, fps = self.encoder.grid, sampling.fps
        num_rows = grid.num_rows(sampling.num_frames(info.duration_s))
        name = Path(path).stem if video_id is None else video_id
        with encode_whole(
            self.encoder, path, fps, num_rows, self.config.reader, self.device, on_progress
        ) as rows:
            return self._detect(name, rows, grid.rows_at(fps), info.duration_s)

    def predict_store(self, store: FeatureStore, video_id: str) -> pd.DataFrame:
        """The same from a store's rows, without looking at the video.

        Raises
        ------
        StoreSpecError
            the rows were made by something else than this model's encoder; names the differences.
        """
        if self._checked != store.path:  # once, not for each of its videos
            self.check_store(store)
        video = read_stored_video(store, video_id)
        return self._detect(video_id, video.rows, video.grid, video.duration_s, video.valid)

    def check_store(self, store: FeatureStore) -> None:
        """Hold that the store's rows are of the kind that the model was trained on.

        Imported features are known by what their owner says of them, not by the files of one import: those of
        new videos are taken, and the log says so where an old store names its files.

        Raises
        ------
        StoreSpecError
            they are not; names the differences.
        """
        channels = self.encoder.channels if self.encoder is not None else self.config.channels
        if self.encoder is not None:
            then = "predict from a store that the model's encoder made, or from the videos"
        else:
            then = (
                "predict from features that were made as those in training, imported with the same "
                "--encoder, --fps, --stride and --window"
            )
        remarks = store.spec.require(
            self.folder.provenance.get("features") or {"channels": channels},
            f"the model {self.folder.path}",
            then=then,
            store=store.path,
            ignore=("dtype",),
        )
        for remark in remarks:
            log.info("%s, compared with the model %s: %s", store.path, self.folder.path, remark)
        self._checked = store.path

    def confident(
        self, predictions: pd.DataFrame, threshold: float | Mapping[str, float] | None = None
    ) -> pd.DataFrame:
        """Detections whose score reaches the threshold: one for all, by class, or (None) the calibrated ones.

        A class without a calibrated threshold takes the median of the others, or 0.5 where there are none.
        """
        if isinstance(threshold, int | float):
            return predictions[predictions["score"] >= threshold].reset_index(drop=True)
        by_label = self.thresholds if threshold is None else threshold
        fallback = float(np.median(list(by_label.values()))) if by_label else 0.5
        needed = np.array([by_label.get(str(name), fallback) for name in predictions["label"]])
        return predictions[predictions["score"].to_numpy() >= needed].reset_index(drop=True)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model as a new folder; FileExistsError where something stands."""
        tree = yaml.safe_dump(dict(self.folder.tree), sort_keys=False, allow_unicode=True)
        weights = {f"localizer.{k}": v for k, v in self.localizer.state_dict().items()}
        if self.encoder is not None:
            trained = self.folder.weights() if self.folder.trunk else None
            state = {f"encoder.{k}": v for k, v in self.encoder.state_dict().items()}
            weights |= {k: v for k, v in state.items() if trained is None or k in trained}
        return write_model(path, weights, tree, self.labels, self.thresholds, self.folder.provenance)

    def _detect(
        self,
        video_id: str,
        rows: NDArray[np.floating],
        grid: FeatureGrid,
        duration_s: float,
        valid: NDArray[np.bool_] | None = None,
    ) -> pd.DataFrame:
        config, scores = self.config.windows, self.video_scores
        return detect(self.localizer, rows, grid, config, duration_s, video_id, self.labels, scores, valid)


def _build_encoder(folder: ModelFolder, weights: Mapping[str, Tensor]) -> Encoder:
    """The encoder with the folder's weights, on top of published ones where it names some."""
    config, trunk = folder.config.encoder, folder.trunk
    assert config is not None
    if trunk is None:
        encoder = build_encoder(config)
        _load(encoder, weights, "encoder.", folder.path)
        return encoder
    beside = folder.path / "trunk.safetensors"
    source = str(beside) if beside.is_file() else trunk.weights
    help_ = (
        f"{folder.path} holds what was trained on top of the weights of {trunk.encoder} ({trunk.weights}, "
        f"sha256 {trunk.sha256}): bring them there, or as {beside}"
    )
    try:
        encoder = build_encoder(config.model_copy(update={"weights": source}))
    except WeightsError as error:
        raise CheckpointError(f"{help_}; {error}") from error
    if encoder.weights_sha256 != trunk.sha256:
        raise CheckpointError(f"{help_}; {source} has sha256 {encoder.weights_sha256}")
    own = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    _load(encoder, {**own, **weights}, "encoder.", folder.path)
    return encoder


def _load(module: torch.nn.Module, weights: Mapping[str, Tensor], prefix: str, source: Path) -> None:
    """Load the tensors of a prefix strictly; CheckpointError lists what does not fit."""
    try:
        load_strict(module, weights, f"{source}: the weights", prefix)
    except WeightsError as error:
        raise CheckpointError(f"{error}: the folder was put together from different models") from error
