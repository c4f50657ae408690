"""Actions that no position learns: they are shorter than the distance between two positions, as a rule.

A decoder learns an action at those of its points (or anchors) that its assignment gives the action. Where
there is none, the loss does not see the action, whatever is trained. What is asked here is the decoder's own
assignment (`Decoder.positives`), in windows as training draws them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.train.step import sample_targets
from tal.grid import FeatureGrid
from tal.localizer import Localizer
from tal.memory.config import WindowConfig
from tal.memory.sampler import Sample, TrainingVideo
from tal.memory.windows import Window, visible_segments

# Rates to try, as multiples of the one at which an action is a position long, and the share that must do.
_RATES, _ENOUGH = (1.05, 1.5, 2.0, 3.0, 5.0), 0.9


@dataclass(frozen=True)
class Unlearnt:
    """Actions of a class that no position learns.

    Attributes
    ----------
    short, hidden, total
        those that would have none by themselves either, those whose positions all learn shorter actions at
        the same place, and all actions of the class.
    longest_s
        seconds of the longest short one.
    """

    label: str
    short: int
    hidden: int
    total: int
    longest_s: float

    @property
    def count(self) -> int:
        return self.short + self.hidden


@dataclass(frozen=True)
class Survey:
    """What a decoder cannot learn of a training subset.

    Attributes
    ----------
    classes
        with such actions, those first that lose the largest share.
    videos, short
        that have short ones, and which of each video's actions they are, bool [N].
    num_too_long
        actions besides of which no window shows the share that counts.
    """

    classes: list[Unlearnt]
    videos: list[TrainingVideo]
    short: list[NDArray[np.bool_]]
    num_too_long: int


def survey(
    videos: Sequence[TrainingVideo], window: WindowConfig, localizer: Localizer, labels: Sequence[str]
) -> Survey:
    """Ask the decoder about every action of the videos."""
    total, short, hidden = np.zeros((3, len(labels)), np.int64)
    longest_s = np.zeros(len(labels))
    affected: list[TrainingVideo] = []
    short_of: list[NDArray[np.bool_]] = []
    num_too_long = 0
    for video in videos:
        total += np.bincount(video.labels, minlength=len(labels))
        lost = without_position(video, window, localizer)
        length = video.segments[:, 1] - video.segments[:, 0]
        too_long = lost & (length * window.trunc_threshold > window.num_rows)
        num_too_long += int(too_long.sum())
        lost &= ~too_long
        if not lost.any():
            continue
        alone = [k for k in np.flatnonzero(lost).tolist() if _learnt_alone(video, k, window, localizer)]
        hidden += np.bincount(video.labels[alone], minlength=len(labels))
        lost[alone] = False
        if lost.any():
            affected.append(video)
            short_of.append(lost)
            short += np.bincount(video.labels[lost], minlength=len(labels))
            np.maximum.at(longest_s, video.labels[lost], length[lost] * video.grid.step_s)
    classes = [
        Unlearnt(label, int(short[k]), int(hidden[k]), int(total[k]), float(longest_s[k]))
        for k, label in enumerate(labels)
        if short[k] or hidden[k]
    ]
    classes.sort(key=lambda u: (-u.count / u.total, -u.count, u.label))
    return Survey(classes, affected, short_of, num_too_long)


def _learnt_alone(video: TrainingVideo, index: int, window: WindowConfig, localizer: Localizer) -> bool:
    """Whether an action would have a position if the video had no other."""
    one = replace(video, segments=video.segments[index : index + 1], labels=video.labels[index : index + 1])
    return not without_position(one, window, localizer).any()


def without_position(video: TrainingVideo, window: WindowConfig, localizer: Localizer) -> NDArray[np.bool_]:
    """bool [N]: the video's actions that no position learns in any of the windows tried.

    Each action is shown whole where a window can hold it, and at every distance from the window's start that
    moves the finest positions: that is all that matters to an action by itself. One that
    shares its place with others may have luck in a window that shows less of them.
    """
    lost = np.ones(len(video.segments), dtype=bool)
    step = localizer.downsample * localizer.decoder.finest_stride
    for shift in range(step):
        if not lost.any():
            break
        for shown in _windows(video, window, shift, step, lost):
            segments, kept = visible_segments(video.segments, shown, window.trunc_threshold)
            if not len(kept):
                continue
            length = shown.stop_row - shown.start_row  # what follows is padding, where nothing learns
            mask = torch.ones(1, 1, length, dtype=torch.bool)
            sample = Sample(video, shown, (), segments, video.labels[kept], ())
            (places,) = localizer.positives(mask, [sample_targets(sample, localizer.downsample)])
            lost[kept[places.numpy() > 0]] = False
    return lost


def _windows(
    video: TrainingVideo, config: WindowConfig, shift: int, step: int, lost: NDArray[np.bool_]
) -> Iterator[Window]:
    """Windows that training may draw and that show every action of which ``lost`` is True, as it is now.

    Their starts are ``shift`` rows before multiples of ``step``, as far as the video has such windows.
    """
    rows, length = video.num_rows, config.num_rows
    if rows <= length:
        cropped = config.mode == "random" and shift <= rows - round(config.crop_ratio[0] * rows)
        if shift == 0 or (cropped and shift < rows):
            yield Window(shift, length, shift, rows)
        return
    done = -np.inf
    for index in np.argsort(video.segments[:, 0], kind="stable"):
        start, end = video.segments[index]
        if not lost[index] or end <= done:
            continue
        last = int(np.clip(np.floor(start + 0.5), 0, rows - length))  # the last start that shows it whole
        first = max(0, last - (last + shift) % step)
        yield Window(first, length, first, first + length)
        done = first + length - 0.5


def rate_factor(found: Survey, window: WindowConfig, localizer: Localizer) -> float | None:
    """How many times as many rows a second would give nine in ten of the short actions a position.

    Tried with the decoder's assignment on the same actions at the higher rate; None: not even the highest
    rate that is tried does.
    """
    lengths = np.concatenate(
        [np.diff(video.segments[k], axis=1)[:, 0] for video, k in zip(found.videos, found.short, strict=True)]
    )
    shortest = float(np.quantile(lengths, 1 - _ENOUGH))
    least = max(1.0, localizer.downsample * localizer.decoder.finest_stride / shortest)
    for multiple in _RATES:
        factor = least * multiple
        left = sum(
            int((without_position(faster(video, factor), window, localizer) & before).sum())
            for video, before in zip(found.videos, found.short, strict=True)
        )
        if left <= (1 - _ENOUGH) * len(lengths) + 1e-9:
            return factor
    return None


def faster(video: TrainingVideo, factor: float) -> TrainingVideo:
    """The video with ``factor`` times as many rows a second."""
    grid = FeatureGrid(
        video.grid.fps * factor, video.grid.stride_frames, video.grid.window_frames, video.grid.start_frame
    )
    segments = grid.to_positions(video.grid.to_seconds(video.segments))
    rows = max(1, round(video.num_rows * factor))
    return replace(video, num_rows=rows, fps=video.fps * factor, grid=grid, segments=segments)
