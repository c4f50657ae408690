"""The work of a loader worker: decode the clips of a sample, and nothing else.

A worker has nothing but the sample that it is given, so its result does not depend on the number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tal.encoders import Preprocess
from tal.errors import VideoError
from tal.grid import ClipGrid
from tal.memory.augment import AugmentConfig, apply_augmentation, cut, draw_augmentation
from tal.memory.augment_later import Change, change_clips
from tal.memory.mixing import ClipPlaces
from tal.memory.network import ClipFrames
from tal.memory.sampler import Sample
from tal.video import open_video


@dataclass(frozen=True)
class ClipReading:
    """How clips become tensors.

    Attributes
    ----------
    grid, preprocess
        the encoder's clips and pictures.
    augment
        what is drawn for each window.
    reader
        decodes the videos.
    every_clip
        decode all of the window's clips, learn from the sampled ones.
    clean
        also give the clips without augmentation, for canonical write-back.
    later
        cut the pictures only; what else augmentation does is left to the device (`Change`).
    """

    grid: ClipGrid
    preprocess: Preprocess
    augment: AugmentConfig
    reader: str
    every_clip: bool = False
    clean: bool = False
    later: bool = False


@dataclass(frozen=True)
class SampleFrames:
    """The decoded clips of one sample.

    Attributes
    ----------
    frames, clean
        uint8 [m, L, h, w, 3] as augmented, black beyond the video, and without augmentation.
    clips
        their numbers, [m].
    decode_s
        seconds spent.
    error
        why the video could not be decoded; empty: it could.
    change
        what is still to be done to ``frames``; None: nothing.
    """

    sample: Sample
    frames: Tensor
    clips: tuple[int, ...]
    clean: Tensor | None
    decode_s: float
    error: str = ""
    change: Change | None = None


@dataclass(frozen=True)
class Batch:
    """A micro-batch.

    Attributes
    ----------
    samples, clips
        samples in order, and the clips of all of them together; None: nothing is encoded.
    decode_s
        seconds that decoding took.
    error
        which video could not be decoded, and why: an exception would lose its message between processes.
    changes
        what is still to be done to the pictures, by window (`change_clips`); none: nothing.
    """

    samples: list[Sample]
    clips: ClipFrames | None
    decode_s: float
    error: str = ""
    changes: tuple[Change, ...] = ()

    def pin_memory(self) -> Batch:
        """With its pictures in pinned memory (`ClipFrames.pin_memory`)."""
        return self if self.clips is None else replace(self, clips=self.clips.pin_memory())

    def clips_on(self, device: torch.device) -> ClipFrames | None:
        """The clips on a device as the encoder takes them; None: nothing is encoded."""
        if self.clips is None:
            return None
        clips = self.clips.to(device)
        return replace(clips, frames=change_clips(clips.frames, self.changes)) if self.changes else clips


class ClipDataset(Dataset[SampleFrames]):
    """``dataset[sample]`` decodes a sample's clips; with ``reading`` None (stored rows only) nothing."""

    def __init__(self, reading: ClipReading | None) -> None:
        self.reading = reading

    def __getitem__(self, sample: Sample) -> SampleFrames:
        empty = torch.zeros(0)
        if self.reading is None:
            return SampleFrames(sample, empty, (), None, 0.0)
        try:
            return read_clips(sample, self.reading)
        except VideoError as error:
            return SampleFrames(sample, empty, (), None, 0.0, str(error))

    def collate(self, decoded: Sequence[SampleFrames]) -> Batch:
        """The micro-batch of these samples; of no clips at all, or after an error, without frames."""
        samples = [d.sample for d in decoded]
        if errors := [d.error for d in decoded if d.error]:
            return Batch(samples, None, 0.0, errors[0])
        if self.reading is None or not any(d.clips for d in decoded):
            return Batch(samples, None, 0.0)
        rows = self.reading.grid.rows_per_clip
        indices = [index for index, d in enumerate(decoded) for _ in d.clips]
        positions = [d.sample.window.position(clip, rows) for d in decoded for clip in d.clips]
        learn = [clip in d.sample.clips for d in decoded for clip in d.clips]
        filled = [d for d in decoded if d.clips]
        clean = [d.clean for d in filled if d.clean is not None]
        clips = ClipFrames(
            frames=torch.cat([d.frames for d in filled]),
            places=ClipPlaces(torch.tensor(indices), torch.tensor(positions)),
            learn=torch.tensor(learn),
            clean=torch.cat(clean) if self.reading.clean else None,
        )
        changes = tuple(d.change for d in filled if d.change is not None)
        return Batch(samples, clips, sum(d.decode_s for d in decoded), changes=changes)


def read_clips(sample: Sample, reading: ClipReading) -> SampleFrames:
    """Decode the clips of one sample, with the lead-in from their key frames, and augment them alike."""
    start = time.perf_counter()
    window, grid, prepare = sample.window, reading.grid, reading.preprocess
    clips = tuple(window.clips(grid.rows_per_clip)) if reading.every_clip else sample.clips
    frames_of = [grid.frames_of_rows(*window.rows_of_clip(clip, grid.rows_per_clip)) for clip in clips]
    shape = (len(clips), grid.clip_frames, prepare.crop, prepare.crop, 3)
    if not clips:
        return SampleFrames(sample, torch.zeros(shape, dtype=torch.uint8), (), None, 0.0)
    with open_video(sample.video.path, reading.reader) as video:
        pictures, valid = video.frames(np.concatenate(frames_of), sample.video.fps, size=prepare.size)
    draw, change = draw_augmentation(np.random.default_rng(sample.seed), reading.augment), None
    if reading.later:
        frames, change = cut(pictures, prepare.crop, draw), Change(draw, valid.reshape(shape[:2]))
    else:
        frames = apply_augmentation(pictures, prepare.crop, draw)
        # beyond the video: black, as in extraction, whatever the colours became
        frames[torch.from_numpy(~valid)] = 0
    clean = prepare.center(pictures).reshape(shape) if reading.clean else None
    seconds = time.perf_counter() - start
    return SampleFrames(sample, frames.reshape(shape), clips, clean, seconds, change=change)
