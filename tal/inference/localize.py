"""Detections of a whole video from its rows: windows that overlap, or exact chunks, then one suppression.

Memory is bounded by one batch of windows (or one chunk) and the candidates kept, whatever the video's length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from tal.config import Config
from tal.decoders.base import Candidates, joined_candidates, on_host
from tal.device import AtOnce
from tal.encoders.streaming import row_buffer
from tal.errors import ConfigError
from tal.grid import FeatureGrid
from tal.inference.chunks import chunked_candidates
from tal.inference.resized import resize_rows
from tal.inference.video_scores import VideoScores
from tal.localizer import Localizer
from tal.localizer.row_classifier import segment_means
from tal.suppression import FusionRule, SuppressionConfig, suppress

# `suppression.max_segments` is meant for videos of minutes; longer ones may keep more.
SEGMENTS_PER_MINUTE = 20


class InferenceConfig(Config):
    """How rows become segments. ``window_rows`` 0: the training window's length."""

    window_rows: int = Field(0, ge=0)
    long: Literal["windows", "chunks"] = Field(
        "windows",
        description="a video of more rows than window_rows: overlapping windows; or chunks of that length "
        "with context, which give what one pass gives (ActionFormer with local attention, TemporalMaxer)",
    )
    overlap: float = Field(0.25, ge=0, lt=1, description="share of a window that the next one sees again")
    batch_windows: int = Field(4, ge=1, description="windows at once")
    min_score: float = Field(0.001, ge=0, le=1, description="candidates below are dropped before suppression")
    max_candidates: int = Field(
        2000, ge=1, description="best candidates kept of each window; with chunks of the whole video"
    )
    suppression: SuppressionConfig = SuppressionConfig()
    row_weight: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the row classifier in a score: score^(1 - w) * (mean probability of the "
        "segment's rows)^w; needs a localizer trained with row_loss",
    )
    row_offset: float = Field(
        0.0,
        description="rows that every segment moves by: a converted model learnt times as its code has them",
    )
    resize_rows: int = Field(
        0,
        ge=0,
        description="interpolate each video to so many rows: a converted model learnt them so; 0: never",
    )
    video_scores: str = Field(
        "", description="JSON of video-level class scores that name the segments; empty: the decoder's labels"
    )
    video_top: int = Field(2, ge=1, description="best classes of a video that each segment gets")
    video_rule: FusionRule = Field("product", description="score × class score; sqrt: the square root of it")

    @model_validator(mode="after")
    def _fits_together(self) -> InferenceConfig:
        if self.resize_rows and self.row_weight:
            raise ValueError(
                "inference.resize_rows interpolates the whole of a video, and goes not with "
                "inference.row_weight, which needs the rows as they are: set one of them to 0"
            )
        return self

    def with_window(self, num_rows: int) -> InferenceConfig:
        """With the training window's length where none is given."""
        return self if self.window_rows else self.model_copy(update={"window_rows": num_rows})

    def for_length(self, duration_s: float) -> InferenceConfig:
        """As a video of this length needs it: more detections than ``max_segments`` of a long one."""
        limit, needed = self.suppression.max_segments, math.ceil(duration_s / 60 * SEGMENTS_PER_MINUTE)
        if not limit or needed <= limit:
            return self
        suppression = self.suppression.model_copy(update={"max_segments": needed})
        return self.model_copy(update={"suppression": suppression})

    def read_video_scores(self, labels: Sequence[str], one_class: bool = False) -> VideoScores | None:
        """The scores of ``video_scores`` in the order of ``labels``; None where none are given.

        ConfigError when a localizer of ``one_class`` needs them to tell several labels apart.
        """
        if one_class and len(labels) > 1 and not self.video_scores:
            raise ConfigError(
                "localizer.one_class finds actions without naming them: give a file of video-level scores "
                "with inference.video_scores=PATH"
            )
        return VideoScores.read(self.video_scores, labels) if self.video_scores else None

    def named(self, detections: pd.DataFrame, video_id: str, scores: VideoScores | None) -> pd.DataFrame:
        """Detections of `localize` with the labels that video-level scores give them, when there are any."""
        if scores is None:
            return detections
        return scores.name(detections, video_id, self.video_top, self.video_rule)


def window_starts(num_rows: int, window_rows: int, overlap: float, multiple: int = 1) -> list[int]:
    """Starts of windows that cover [0, num_rows); the last one is moved back to end with the video.

    Starts are multiples of ``multiple`` (the localizer's downsampling), so that a position means the same
    rows in every window.
    """
    if num_rows <= window_rows:
        return [0]
    stride = max(multiple, int(window_rows * (1 - overlap)) // multiple * multiple)
    last = -(-(num_rows - window_rows) // multiple) * multiple
    return [*range(0, last, stride), last]


@dataclass(frozen=True)
class Found:
    """What the localizer found in a video, on the CPU and before suppression.

    Attributes
    ----------
    candidates
        on the decoder's grid, of all windows.
    grid, downsample
        that places row 0 in time; rows per decoder position.
    duration_s
        of the video.
    valid
        bool [T]: rows that hold something; None: all do.
    probabilities
        of the row classifier, float32 [T, classes]; None where it has no say.
    memory
        where they lie.
    """

    candidates: Candidates
    grid: FeatureGrid
    downsample: int
    duration_s: float
    valid: NDArray[np.bool_] | None
    probabilities: NDArray[np.float32] | None
    memory: ExitStack


def localize(
    localizer: Localizer,
    rows: NDArray[np.floating] | Tensor,
    grid: FeatureGrid,
    config: InferenceConfig,
    duration_s: float,
    valid: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Detections from rows [T, C]: DataFrame start_s, end_s, label_index, score, best first.

    The localizer is put in evaluation mode and stays on its device.

    Parameters
    ----------
    grid
        places row 0 in time.
    duration_s
        of the video; segments are clipped to it.
    valid
        bool [T]: rows that hold something; None: all do.

    Raises
    ------
    ConfigError
        ``config.long`` is "chunks" for a localizer that looks at the whole sequence, ``config.row_weight``
        is above 0 for one without a row classifier, or ``config.resize_rows`` meets rows that are missing.
    """
    return choose(find(localizer, rows, grid, config, duration_s, valid), config)


@torch.inference_mode()
def find(
    localizer: Localizer,
    rows: NDArray[np.floating] | Tensor,
    grid: FeatureGrid,
    config: InferenceConfig,
    duration_s: float,
    valid: NDArray[np.bool_] | None = None,
) -> Found:
    """The device's part of `localize`; afterwards the rows are not needed any more."""
    localizer.eval()
    if config.resize_rows:
        if not (valid is None or valid.all()):
            raise ConfigError(
                "inference.resize_rows interpolates the whole of a video, of which no rows may be missing"
            )
        rows, grid = resize_rows(rows, grid, config.resize_rows)
        valid = None
    in_parts = _in_chunks if config.long == "chunks" else _in_windows
    parts = [*in_parts(localizer, rows, config, valid)]  # of one window or chunk at least
    candidates = joined_candidates(parts)
    probabilities, memory = None, ExitStack()
    if config.row_weight:
        if localizer.row_classifier is None:
            raise ConfigError(
                f"inference.row_weight is {config.row_weight}, but the localizer was trained without a "
                f"row classifier (localizer.row_loss 0)"
            )
        probabilities = memory.enter_context(row_buffer(len(rows), localizer.row_classifier.num_classes))
        localizer.row_classifier.probabilities(rows, probabilities)
    return Found(candidates, grid, localizer.downsample, duration_s, valid, probabilities, memory)


@torch.inference_mode()
def choose(found: Found, config: InferenceConfig) -> pd.DataFrame:
    """The rest of `localize`, on the CPU: suppression, seconds, scores of rows."""
    with found.memory:
        grid = found.grid.moved(config.row_offset).downsampled(found.downsample)
        seconds = grid.to_seconds(found.candidates.segments.double())
        keep = seconds.clamp(0.0, found.duration_s).diff(dim=1)[:, 0] > 0
        kept = found.candidates[keep]
        seconds, scores, labels = suppress(seconds[keep], kept.scores, kept.labels, config.suppression)
        # only now, as published: what reaches beyond the video competes at its full length
        seconds = seconds.clamp(0.0, found.duration_s)
        if found.probabilities is not None:
            segments = found.grid.to_positions(seconds).numpy()
            by_rows = segment_means(found.probabilities, segments, labels.numpy(), found.valid)
            scores = (
                scores.double() ** (1 - config.row_weight) * torch.from_numpy(by_rows) ** config.row_weight
            )
    order = torch.argsort(scores, descending=True, stable=True)
    return pd.DataFrame(
        {
            "start_s": seconds[order, 0].numpy(),
            "end_s": seconds[order, 1].numpy(),
            "label_index": labels[order].numpy(),
            "score": scores[order].double().numpy(),
        }
    )


def _in_windows(
    localizer: Localizer,
    rows: NDArray[np.floating] | Tensor,
    config: InferenceConfig,
    valid: NDArray[np.bool_] | None,
) -> Iterator[Candidates]:
    """Candidates of every window on the video's decoder grid, bounded in number, on the CPU."""
    device = next(localizer.parameters()).device
    total = len(rows)
    length = min(config.window_rows or total, total)  # a shorter video needs no padding to the window
    multiple = localizer.downsample
    length = -(-length // multiple) * multiple
    starts = window_starts(total, length, config.overlap, multiple)
    at_once = AtOnce(config.batch_windows, "windows")
    for first in range(0, len(starts), config.batch_windows):
        chosen = starts[first : first + config.batch_windows]
        features = torch.zeros(len(chosen), localizer.in_channels, length)
        mask = torch.zeros(len(chosen), 1, length, dtype=torch.bool)
        for index, start in enumerate(chosen):
            part = torch.as_tensor(rows[start : start + length]).float()  # [n, C]
            features[index, :, : len(part)] = part.t()
            written = True if valid is None else torch.as_tensor(valid[start : start + length])
            mask[index, 0, : len(part)] = written
        features *= mask

        def work(part: slice, features: Tensor = features, mask: Tensor = mask) -> list[Candidates]:
            outputs = localizer(features[part].to(device), mask[part].to(device))
            return on_host(localizer.candidates(outputs))

        found = [candidates for part in at_once.run(len(chosen), work) for candidates in part]
        for start, candidates in zip(chosen, found, strict=True):
            yield _best(candidates, start / multiple, config)


def _in_chunks(
    localizer: Localizer,
    rows: NDArray[np.floating] | Tensor,
    config: InferenceConfig,
    valid: NDArray[np.bool_] | None,
) -> Iterator[Candidates]:
    """Candidates of the whole video, one chunk in memory at a time."""

    def read(start: int, stop: int) -> tuple[Tensor, Tensor]:
        mask = np.ones(stop - start, np.bool_) if valid is None else valid[start:stop]
        return torch.as_tensor(rows[start:stop]), torch.as_tensor(mask)

    chunk = config.window_rows or max(1, len(rows))
    yield _best(chunked_candidates(localizer, read, len(rows), chunk), 0, config)


def _best(candidates: Candidates, offset: float, config: InferenceConfig) -> Candidates:
    """The best of a window's candidates, moved by ``offset`` positions."""
    best = candidates[candidates.scores >= config.min_score].best(config.max_candidates)
    return Candidates(best.segments + offset, best.scores, best.labels)
