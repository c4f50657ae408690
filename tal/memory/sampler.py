"""The samples of every epoch: pure functions of (seed, epoch, step, slot), the same on any machine.

Videos are dealt to ``batch_size`` slots; a step takes the next video of each slot. So no video is twice in a
step, a slot (and with it a video and its rows) belongs to one process whatever their number, and the batches
do not depend on that number. A slot with fewer videos begins again, with other windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.errors import ConfigError
from tal.grid import FeatureGrid
from tal.memory.clip_sampling import sample_clips
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.unknown import Unknown
from tal.memory.windows import Window, draw_window, visible_segments

# Streams of one sample: each use draws from its own, so that a change in one leaves the others as they are.
_WINDOW, _CLIPS, _AUGMENT, _ORDER, _SLOTS = range(5)

# start and stop row of a video -> mean age in steps of the clips between, [num_clips]
ClipAges = Callable[[str, int, int], NDArray[np.float64]]


@dataclass(frozen=True)
class TrainingVideo:
    """A video as training needs it.

    Attributes
    ----------
    fps, grid
        frames a second that are sampled of it, and where its rows stand in time.
    segments, labels
        ground truth: float64 [N, 2] in row positions, int64 [N].
    path
        its file; empty: stored rows only.
    unknown
        where nobody looked for a class, or None: everywhere somebody did for all.
    """

    id: str
    num_rows: int
    fps: float
    grid: FeatureGrid
    segments: NDArray[np.float64]
    labels: NDArray[np.int64]
    path: str = ""
    duration_s: float = 0.0
    unknown: Unknown | None = None


@dataclass(frozen=True)
class Sample:
    """One sample: what is seen of a video, and what of it is encoded.

    Attributes
    ----------
    video, window
        the window's rows of the video.
    clips
        numbers of the clips to encode (`Window.clips`).
    segments, labels
        ground truth inside the window: float64 [n, 2] in window positions, int64 [n].
    seed
        of its augmentation.
    known
        bool [classes, window rows], see `tal.decoders.base.Targets`; None: all is known.
    """

    video: TrainingVideo
    window: Window
    clips: tuple[int, ...]
    segments: NDArray[np.float64]
    labels: NDArray[np.int64]
    seed: tuple[int, ...]
    known: NDArray[np.bool_] | None = None


class WindowSampler:
    """Draws the samples of any step: window, clips and augmentation of each.

    Attributes
    ----------
    rows_per_clip
        0: nothing is encoded (stored rows only).
    steps_per_epoch
        optimizer steps of an epoch.
    finetune_from
        first of the run's last epochs, in which the localizer learns alone; None when the encoder always
        learns too.
    """

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        batch_size: int,
        window: WindowConfig,
        memory: MemoryConfig,
        seed: int,
        rows_per_clip: int = 0,
        epochs: int | None = None,
    ) -> None:
        """``epochs`` of the run; None: endless."""
        if len(videos) < batch_size:
            raise ConfigError(
                f"train.batch_size {batch_size} is more than the {len(videos)} training videos; a step takes "
                f"each video at most once: set train.batch_size to {len(videos)} or less"
            )
        self.videos, self.batch_size, self.seed = videos, batch_size, seed
        self.window, self.memory, self.rows_per_clip = window, memory, rows_per_clip
        rests = rows_per_clip > 0 and memory.finetune_localizer_epochs > 0
        last = memory.finetune_localizer_epochs
        self.finetune_from = epochs - last if rests and epochs is not None else None
        dealt = self._rng(_SLOTS).permutation(len(videos))
        self.slots = [np.sort(dealt[slot::batch_size]) for slot in range(batch_size)]
        self.steps_per_epoch = window.windows_per_video * max(len(slot) for slot in self.slots)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])

    def finetunes_localizer(self, epoch: int) -> bool:
        """Whether the localizer learns alone in this epoch, at the run's end."""
        return self.finetune_from is not None and epoch >= self.finetune_from

    def videos_of(self, slots: Sequence[int]) -> list[TrainingVideo]:
        """The videos that a process with these slots owns."""
        return [self.videos[i] for slot in slots for i in self.slots[slot]]

    def samples(
        self, epoch: int, step: int, slots: Sequence[int] | None = None, ages: ClipAges | None = None
    ) -> list[Sample]:
        """Samples of a step, counted from the start of the epoch, in these slots; all slots by default."""
        return [
            self._sample(epoch, step, slot, ages)
            for slot in (range(self.batch_size) if slots is None else slots)
        ]

    def _sample(self, epoch: int, step: int, slot: int, ages: ClipAges | None) -> Sample:
        members = self.slots[slot]
        turn, place = divmod(step, len(members))
        order = self._rng(_ORDER, epoch, slot, turn).permutation(len(members))
        video = self.videos[members[order[place]]]
        key = (epoch, step, slot)
        window = draw_window(
            self._rng(_WINDOW, *key), video.num_rows, video.segments, self.window, self.rows_per_clip or 1
        )
        segments, kept = visible_segments(video.segments, window, self.window.trunc_threshold)
        learning = epoch >= self.memory.warmup_epochs and not self.finetunes_localizer(epoch)
        encoding = self.rows_per_clip > 0 and learning
        clips = self._clips(key, video, window, ages) if encoding else ()
        known = None if video.unknown is None else video.unknown.known_in(window)
        return Sample(video, window, clips, segments, video.labels[kept], (self.seed, _AUGMENT, *key), known)

    def _clips(
        self, key: tuple[int, ...], video: TrainingVideo, window: Window, ages: ClipAges | None
    ) -> tuple[int, ...]:
        inside = window.clips(self.rows_per_clip)
        start = window.rows_of_clip(inside.start, self.rows_per_clip)[0]
        stop = window.rows_of_clip(inside.stop, self.rows_per_clip)[0]
        age = ages(video.id, start, stop) if ages is not None else None
        chosen = sample_clips(self._rng(_CLIPS, *key), len(inside), self.memory, age)
        return tuple(int(inside.start + k) for k in chosen)


class BatchSampler:
    """Batch sampler of a `DataLoader`: samples of one process, a micro-batch at a time, from a step on."""

    def __init__(self, windows: WindowSampler, slots: Sequence[int], micro_batches: int = 1) -> None:
        self.windows, self.slots, self.micro_batches = windows, slots, micro_batches
        self.epoch, self.first_step, self.ages = 0, 0, None

    epoch: int
    first_step: int
    ages: ClipAges | None

    def start(self, epoch: int, first_step: int = 0, ages: ClipAges | None = None) -> None:
        """What the next iteration goes over; ``ages`` are those at the start of the epoch."""
        self.epoch, self.first_step, self.ages = epoch, first_step, ages

    @property
    def videos(self) -> list[TrainingVideo]:
        """The videos that this process owns."""
        return self.windows.videos_of(self.slots)

    def __len__(self) -> int:
        return (self.windows.steps_per_epoch - self.first_step) * self.micro_batches

    def __iter__(self) -> Iterator[list[Sample]]:
        size = len(self.slots) // self.micro_batches
        for step in range(self.first_step, self.windows.steps_per_epoch):
            for part in range(self.micro_batches):
                slots = self.slots[part * size : (part + 1) * size]
                yield self.windows.samples(self.epoch, step, slots, self.ages)
