"""Decode the sampled clips of a plan, and nothing else: what loader workers do.

A worker knows nothing but the plan it is given, so what it returns does not depend on how many there are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tal.encoders import Preprocess
from tal.errors import VideoError
from tal.memory.augment import AugmentConfig, apply_augmentation, draw_augmentation
from tal.memory.mixing import ClipPlaces
from tal.memory.network import ClipFrames
from tal.memory.sampler import SamplePlan
from tal.video import open_video


@dataclass(frozen=True)
class ClipReading:
    """How clips become tensors. ``every_clip``: decode all of the window's clips, learn from the sampled
    ones.

    ``clean``: also give the clips without augmentation, for canonical write-back.
    """

    clip_frames: int
    frame_stride: int
    preprocess: Preprocess
    augment: AugmentConfig
    every_clip: bool = False
    clean: bool = False

    @property
    def rows_per_clip(self) -> int:
        return self.clip_frames // self.frame_stride


@dataclass(frozen=True)
class SampleFrames:
    """One sample's clips: ``frames`` uint8 [m, L, h, w, 3], black beyond the video; seconds spent."""

    plan: SamplePlan
    frames: Tensor
    clips: tuple[int, ...]
    clean: Tensor | None
    decode_s: float
    error: str = ""


@dataclass(frozen=True)
class Batch:
    """A micro-batch: plans in order, their clips together (None: nothing is encoded), decoding seconds.

    ``error`` says which video could not be decoded; an exception would lose its message on the way from a
    worker.
    """

    plans: list[SamplePlan]
    clips: ClipFrames | None
    decode_s: float
    error: str = ""


class ClipDataset(Dataset[SampleFrames]):
    """``dataset[plan]`` decodes a plan's clips. ``reading`` None: stored rows only, nothing is decoded."""

    def __init__(self, reading: ClipReading | None) -> None:
        self.reading = reading

    def __getitem__(self, plan: SamplePlan) -> SampleFrames:
        empty = torch.zeros(0)
        if self.reading is None:
            return SampleFrames(plan, empty, (), None, 0.0)
        try:
            return read_clips(plan, self.reading)
        except VideoError as error:
            return SampleFrames(plan, empty, (), None, 0.0, str(error))

    def collate(self, samples: Sequence[SampleFrames]) -> Batch:
        plans = [s.plan for s in samples]
        if errors := [s.error for s in samples if s.error]:
            return Batch(plans, None, 0.0, errors[0])
        if self.reading is None or not any(s.clips for s in samples):
            return Batch(plans, None, 0.0)
        rows = self.reading.rows_per_clip
        sample = [index for index, s in enumerate(samples) for _ in s.clips]
        position = [s.plan.window.position(clip, rows) for s in samples for clip in s.clips]
        learn = [clip in s.plan.clips for s in samples for clip in s.clips]
        filled = [s for s in samples if s.clips]
        clips = ClipFrames(
            frames=torch.cat([s.frames for s in filled]),
            places=ClipPlaces(torch.tensor(sample), torch.tensor(position)),
            learn=torch.tensor(learn),
            clean=torch.cat([s.clean for s in filled if s.clean is not None]) if self.reading.clean else None,
        )
        return Batch(plans, clips, sum(s.decode_s for s in samples))


def read_clips(plan: SamplePlan, reading: ClipReading) -> SampleFrames:
    """Decode the clips of one plan, with the lead-in from their key frames, and augment them alike."""
    start = time.perf_counter()
    window, prepare = plan.window, reading.preprocess
    clips = tuple(window.clips(reading.rows_per_clip)) if reading.every_clip else plan.clips
    begins = [window.rows_of_clip(clip, reading.rows_per_clip)[0] * reading.frame_stride for clip in clips]
    wanted = (np.asarray(begins, np.int64)[:, None] + np.arange(reading.clip_frames)).reshape(-1)
    shape = (len(clips), reading.clip_frames, prepare.crop, prepare.crop, 3)
    if not clips:
        return SampleFrames(plan, torch.zeros(shape, dtype=torch.uint8), (), None, 0.0)
    with open_video(plan.video.path) as video:
        pictures, valid = video.frames(wanted, plan.video.fps, size=prepare.size)
    draw = draw_augmentation(np.random.default_rng(plan.seed), reading.augment)
    frames = apply_augmentation(pictures, prepare.crop, draw)
    frames[torch.from_numpy(~valid)] = (
        0  # beyond the video: black, as in extraction, whatever the colours became
    )
    clean = prepare.center(pictures).reshape(shape) if reading.clean else None
    return SampleFrames(plan, frames.reshape(shape), clips, clean, time.perf_counter() - start)
