"""`Detector`: a trained model that finds actions in video files, or in rows of a feature store."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor

from featstore import FeatureStore
from featstore.documents import why
from featstore.spec import PRECISION
from tal.annotations import Segment
from tal.device import choose_device, set_float32
from tal.encoders import Encoder, clips_at_once
from tal.encoders.stream import ClipEncoder, encode_decoded
from tal.encoders.whole import (
    Progress,
    UnreadVideo,
    WholeVideo,
    collect_videos,
    decoders_for,
    encode_videos,
)
from tal.errors import CheckpointError, EvaluationError, LongtalError
from tal.inference.model_encoder import build_model_encoder, load_part, told_of_folder
from tal.inference.model_folder import ModelFolder, read_model, write_model
from tal.inference.stored_video import stored_rows
from tal.inference.videos import VideoDetector, VideoResult, VideoRows
from tal.localizer import Localizer
from tal.plot import timeline
from tal.shared.progress import ProgressLine, is_interactive
from tal.shared.weights import require_fit
from tal.video import open_video, require_reader
from tal.video.pool import DecodeTask, Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("longtal.model")


class Detector:
    """A trained model that finds actions; made by `Detector.from_pretrained`.

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
    precision
        that the encoder computes in; the localizer computes in 32 bits.
    video_scores
        video-level class scores that name the segments, if there are any.
    """

    def __init__(
        self,
        folder: ModelFolder,
        encoder: Encoder | None,
        localizer: Localizer,
        device: torch.device,
        precision: str = "",
    ) -> None:
        self.folder = folder
        self.config = folder.config
        self.labels = folder.labels
        self.thresholds = folder.thresholds
        self.encoder = encoder
        self.localizer = localizer
        self.device = device
        self.precision = precision or folder.config.precision
        set_float32(self.precision)
        self._checked: Path | None = None
        self.video_scores = folder.config.windows.read_video_scores(
            folder.labels, folder.config.localizer.one_class
        )

    @classmethod
    def from_pretrained(
        cls, model: str | os.PathLike[str], device: str = "auto", precision: str = ""
    ) -> Detector:
        """Load a model: a folder, a run, a zip of a folder, or ``hf:owner/name[@revision]`` of the hub.

        Only numbers and text are read: safetensors, JSON and YAML; no code comes along.

        Parameters
        ----------
        precision
            that the encoder computes in: fp32, tf32, bf16 or fp16; empty: the run's.

        Raises
        ------
        CheckpointError
            something is missing, damaged or does not fit; the message lists it.
        """
        folder = read_model(model)
        config, weights = folder.config, folder.weights()
        where = choose_device(device)
        encoder = build_model_encoder(folder, weights) if config.encoder is not None else None
        channels = encoder.channels if encoder is not None else config.channels
        if not channels:
            raise CheckpointError(
                f"{folder.path}: it has no encoder, and provenance.json gives no features.channels"
            )
        _check_sizes(folder, channels, weights)
        localizer = Localizer(config.localizer, channels, len(folder.labels), config.window_rows)
        if encoder is not None:
            encoder.to(where).eval()
        load_part(localizer, weights, "localizer.", folder.path)
        return cls(folder, encoder, localizer.to(where).eval(), where, precision)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto", precision: str = "") -> Detector:
        """`from_pretrained` by its shorter name."""
        return cls.from_pretrained(path, device, precision)

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:6]) + (", …" if len(self.labels) > 6 else "")
        encoder, fps = self.config.encoder, f"{self.config.fps:g} frames a second"
        sees = f"{encoder.name} at {fps}" if encoder is not None else "none: it reads stored features"
        return (
            f"Detector({len(self.labels)} classes: {shown}; encoder {sees}; decoder "
            f"{self.config.localizer.decoder.name}; on {self.device}; from "
            f"{self.folder.source or self.folder.path})"
        )

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
        self,
        path: str | os.PathLike[str],
        video_id: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        progress: bool | None = None,
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
        progress
            write a line of progress to stderr; None: in a notebook or a terminal, unless there is an
            ``on_progress``.

        Raises
        ------
        VideoError
            the file cannot be decoded.
        ConfigError
            the model's reader is not installed.
        CheckpointError
            the model has no encoder.
        """
        name = Path(path).stem if video_id is None else video_id
        if progress is None:
            progress = on_progress is None and is_interactive()
        with closing(ProgressLine(name, "rows")) as line:
            listeners: list[Callable[[int, int], None]] = [line] if progress else []
            if on_progress is not None:
                listeners.append(on_progress)
            tell = partial(_without_key, listeners) if listeners else None
            ((result),) = self.predict_videos({name: Path(path)}, tell)
        return result.get()

    def show(
        self,
        video: str | os.PathLike[str] | pd.DataFrame,
        ground_truth: Sequence[Segment] | None = None,
        threshold: float | Mapping[str, float] | None = None,
    ) -> Figure:
        """A figure of one video's confident detections over time, which a notebook shows.

        Parameters
        ----------
        video
            a file, which is predicted, or the detections of one.
        ground_truth
            annotated segments, drawn above; detections are right or wrong by them.
        threshold
            as of `confident`.

        Raises
        ------
        EvaluationError
            the detections are of several videos.
        """
        duration_s = None
        if isinstance(video, pd.DataFrame):
            detections = video
        else:
            detections = self.predict(video)
            with open_video(video, self.config.reader) as reader:
                duration_s = reader.info.duration_s
        ids = [str(name) for name in pd.unique(detections["video_id"].astype(object))]
        if len(ids) > 1:
            raise EvaluationError(
                f"the detections are of {len(ids)} videos: choose one, detections[detections.video_id == "
                f"{ids[0]!r}]"
            )
        title = ids[0] if ids else ""
        return timeline(self.confident(detections, threshold), ground_truth, duration_s, title)

    def predict_videos(
        self,
        videos: Mapping[str, Path],
        on_progress: Progress | None = None,
        workers: int | None = None,
    ) -> Iterator[VideoResult]:
        """`predict` of many files, id -> path; each as it is through, with several workers in any order.

        Files are decoded, encoded and searched at once; one that cannot be read is a result with its error.

        Parameters
        ----------
        on_progress
            called with (id, rows done, rows in all).
        workers
            decoding processes; 0: none; None: by cores, and none where the model computes on them.
        """
        with closing(self.rows_of_videos(videos, on_progress, workers)) as rows:
            yield from self._searcher().detect_all(rows)

    def predict_decoded(self, clips: ClipEncoder, events: Iterable[Event]) -> Iterator[VideoResult]:
        """`predict_videos` of what is decoded elsewhere, for tasks of `decode_task`.

        Parameters
        ----------
        clips
            of `clip_encoder`.
        """
        whole = collect_videos(clips.encoder, encode_decoded(clips, events))
        with closing(whole):
            yield from self._searcher().detect_all(map(self._rows_of, whole))

    def rows_of_videos(
        self,
        videos: Mapping[str, Path],
        on_progress: Progress | None = None,
        workers: int | None = None,
    ) -> Generator[VideoRows | VideoResult, None, None]:
        """The rows that `predict_videos` searches; of a file that cannot be read a result with its error."""
        require_reader(self.config.reader)
        if workers is None:
            workers = decoders_for(self.device)
        tasks = (self.decode_task(video_id, path) for video_id, path in videos.items())
        whole = encode_videos(self.clip_encoder(), tasks, workers, on_progress=on_progress)
        with closing(whole):
            yield from map(self._rows_of, whole)

    def decode_task(self, video_id: str, path: Path) -> DecodeTask:
        """What is decoded of a video for this model."""
        config = self.config
        return DecodeTask(video_id, Path(path), config.reader, config.fps, config.max_frames)

    def require_encoder(self) -> Encoder:
        """The encoder; CheckpointError where the model has none."""
        if self.encoder is None:
            raise CheckpointError(
                f"{self.folder.path} was trained on stored features and has no encoder to see videos with; "
                f"predict from a feature store (predict_store; --from-store)"
            )
        return self.encoder

    def clip_encoder(self) -> ClipEncoder:
        """The encoder as extraction uses it; CheckpointError where the model has none."""
        encoder = self.require_encoder()
        return ClipEncoder(encoder, self.device, clips_at_once(encoder, self.device), self.precision)

    def _searcher(self) -> VideoDetector:
        return VideoDetector(self.localizer, self.config.windows, self.labels, self.video_scores)

    def _rows_of(self, video: WholeVideo | UnreadVideo) -> VideoRows | VideoResult:
        if isinstance(video, UnreadVideo):
            return VideoResult(video.key, None, video.error)
        assert self.encoder is not None
        grid = self.encoder.grid.rows_at(video.fps)
        return VideoRows(video.key, video.rows, grid, video.info.duration_s)

    def predict_store(self, store: FeatureStore, video_id: str) -> pd.DataFrame:
        """The same from a store's rows, without looking at the video.

        Raises
        ------
        StoreSpecError
            the rows were made by something else than this model's encoder; names the differences.
        """
        (result,) = self.predict_stored(store, [video_id])
        return result.get()

    def predict_stored(self, store: FeatureStore, video_ids: Iterable[str]) -> Iterator[VideoResult]:
        """`predict_store` of many videos, in order; one that cannot be read is a result with its error."""
        yield from self._searcher().detect_all(self.rows_of_store(store, video_ids))

    def rows_of_store(
        self, store: FeatureStore, video_ids: Iterable[str]
    ) -> Iterator[VideoRows | VideoResult]:
        """The rows that `predict_stored` searches."""
        if self._checked != store.path:  # once, not for each of its videos
            self.check_store(store)
        yield from (_stored(store, video_id) for video_id in video_ids)

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
            ignore=("dtype", PRECISION),
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


def _stored(store: FeatureStore, video_id: str) -> VideoRows | VideoResult:
    try:
        return stored_rows(store, video_id)
    except LongtalError as error:
        return VideoResult(video_id, None, error)


def _without_key(listeners: Sequence[Callable[[int, int], None]], _key: str, done: int, total: int) -> None:
    for tell in listeners:
        tell(done, total)


def _check_sizes(folder: ModelFolder, channels: int, weights: Mapping[str, Tensor]) -> None:
    """Hold that the weights are of the localizer's shapes before it is made: that may take any memory."""
    config = folder.config
    try:
        with torch.device("meta"):
            shapes = Localizer(config.localizer, channels, len(folder.labels), config.window_rows)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{folder.path / 'config.yaml'}: `localizer`: {why(error)}") from error
    told_of_folder(lambda: require_fit(shapes, weights, f"{folder.path}: the weights", "localizer."))
