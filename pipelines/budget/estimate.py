"""What a configuration will cost: steps as `longtal plan` measures them, and what surrounds them.

A step's memory and seconds come from the probe. Extraction and validation, which it does not do, are
estimated from some clips encoded and some decoded, a few times each. The best tries make the estimate, the
slowest show how far to trust it: the machine may have been busy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.budget.probe_process import Measure, Prober, clips_of_window
from pipelines.budget.tries import TRIES, time_decoding, time_encoding
from pipelines.config import RunConfig
from tal.errors import ConfigError
from tal.grid import FrameGrid
from tal.memory.clip_sampling import num_sampled

# A row's part of the ledger: time, step, written_at, writes, checksum.
_LEDGER_BYTES = 8 + 8 + 8 + 4 + 4
_STEP_PATIENCE_S = 10.0

# Picks one of several tries.
Pick = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Times:
    """Seconds of a run's parts.

    Attributes
    ----------
    extract_s, validation_s
        of the extraction, and of one validation.
    step_s
        of an optimizer step, as `longtal plan` counts it; None: a step does not fit into memory.
    decode_s
        of decoding a step's clips, which comes before it.
    steps
        of an epoch.
    """

    extract_s: float
    validation_s: float
    step_s: float | None
    decode_s: float
    steps: int

    @property
    def epoch_s(self) -> float | None:
        """An epoch's steps; validations come on top."""
        return None if self.step_s is None else self.steps * (self.step_s + self.decode_s)

    def total_s(self, epochs: int, validate_every: int) -> float | None:
        """Extraction, training and validations."""
        if self.epoch_s is None:
            return None
        validations = math.ceil(epochs / validate_every)
        return self.extract_s + epochs * self.epoch_s + validations * self.validation_s


@dataclass(frozen=True)
class Estimate:
    """What a run costs on this machine.

    Attributes
    ----------
    device
        that it trains on.
    num_rows, store_bytes
        feature rows of all videos, and the size of their store.
    memory_bytes
        peak memory while training, as `longtal plan` counts it; None: a step does not fit.
    best, slowest
        from the best and from the slowest tries.
    num_tries
        of a step.
    busy
        whether other work was running when it began: times are then too long.
    epochs, validate_every
        the configuration's.
    """

    device: str
    num_rows: int
    store_bytes: int
    memory_bytes: int | None
    best: Times
    slowest: Times
    num_tries: int
    busy: bool
    epochs: int
    validate_every: int

    @property
    def total_s(self) -> float | None:
        """Seconds from nothing to a trained model, from the best tries."""
        return self.best.total_s(self.epochs, self.validate_every)

    def epochs_within(self, seconds: float) -> int:
        """The most epochs, up to the configuration's, that are over by then; 0: none."""
        for epochs in range(self.epochs, 0, -1):
            total_s = self.best.total_s(epochs, self.validate_every)
            if total_s is not None and total_s <= seconds:
                return epochs
        return 0

    def lines(self) -> list[str]:
        """Human-readable lines."""
        return [
            f"disk: {2 * self.store_bytes / 1e9:.2f} GB for {self.num_rows} feature rows "
            f"(the extraction and the run's own copy)",
            self._memory_line(),
            f"time on this machine ({self.device}), best to slowest of several tries: {self._times()}",
            *(["the machine was busy with other work: these times are too long"] if self.busy else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """All figures; those of time are from the best tries, and under ``slowest`` once more."""
        figures = asdict(self)
        best, slowest = figures.pop("best"), figures.pop("slowest")
        best |= {"epoch_s": self.best.epoch_s, "total_s": self.total_s}
        slowest |= {
            "epoch_s": self.slowest.epoch_s,
            "total_s": self.slowest.total_s(self.epochs, self.validate_every),
        }
        return figures | best | {"slowest": slowest}

    def _memory_line(self) -> str:
        if self.memory_bytes is None:
            return f"memory while training: more than this machine has ({self.device})"
        return f"memory while training: {self.memory_bytes / 1e9:.2f} GB on {self.device}"

    def _times(self) -> str:
        best, slowest = self.best, self.slowest
        text = f"extraction {_range(best.extract_s, slowest.extract_s)}, a validation "
        text += _range(best.validation_s, slowest.validation_s)
        slowest_s = slowest.total_s(self.epochs, self.validate_every)
        if best.step_s is None or best.epoch_s is None or self.total_s is None:
            return f"{text}; training could not be timed"
        assert slowest.step_s is not None and slowest_s is not None
        step = f"a step {best.step_s:.2f} to {slowest.step_s:.2f} s"
        if self.num_tries == 1:
            step = f"a step {best.step_s:.2f} s (one try)"
        return (
            f"{text}, {step} and {best.decode_s:.2f} s to decode for it, an epoch "
            f"{rough_time(best.epoch_s)}, all of it with {self.epochs} epochs about "
            f"{_range(self.total_s, slowest_s)}"
        )


@dataclass(frozen=True)
class DataSizes:
    """What the data are like.

    Attributes
    ----------
    durations_s
        of all videos, float64 [N].
    num_train
        videos for training.
    num_classes
        classes of actions.
    paths
        some of the videos, to time decoding with; none: decoding counts as free.
    """

    durations_s: np.ndarray
    num_train: int
    num_classes: int
    paths: Sequence[Path] = ()


def estimate(
    config: RunConfig, sizes: DataSizes, device: str | None = None, measure: Measure | None = None
) -> Estimate:
    """Ask the probe for a step, time some clips encoded and decoded, and add up.

    Weights are random: they change neither time nor memory.

    Parameters
    ----------
    device
        cpu, cuda, mps; None: the best there is.
    measure
        stands in for the probe.

    Raises
    ------
    ConfigError
        for a device that is not there.
    ProbeError
        when a step fails for a reason other than memory.
    """
    assert config.encoder is not None and config.end_to_end
    where = _device(device)
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    train = config.train.model_copy(update={"device": where.type})
    measure = measure or Prober(
        config.model_copy(update={"train": train}),
        sizes.num_classes,
        steps=TRIES + 1,
        patience_s=_STEP_PATIENCE_S,
    )
    clips_encoded = num_sampled(clips_of_window(config), config.memory.ratio)
    probe = measure(clips_encoded, train.batch_size // train.accumulate)
    channels, encoding = time_encoding(config.encoder, where)
    data, settings = config.data, config.encoder
    decoding = time_decoding(sizes.paths, data.fps, settings.grid, settings.size, data.reader)

    grid, sampling = config.encoder.grid, FrameGrid(config.data.fps)
    frames = [sampling.num_frames(float(duration)) for duration in sizes.durations_s]
    num_rows, num_clips = sum(map(grid.num_rows, frames)), sum(map(grid.num_clips, frames))
    held_out = 1 - sizes.num_train / len(sizes.durations_s)

    def times(pick: Pick) -> Times:
        encode_s = pick(encoding)
        random_s, next_s = (_typical([pick(tries) for tries in videos]) for videos in decoding)
        step_s = train.accumulate * pick(probe.tries_s) if probe.tries_s else None
        return Times(
            extract_s=num_clips * max(encode_s, next_s),  # the one beside the other
            validation_s=held_out * num_clips * (encode_s + next_s),  # every clip, as in a prediction
            step_s=step_s,
            decode_s=train.batch_size * clips_encoded * random_s,
            steps=math.ceil(sizes.num_train / train.batch_size) * config.window.windows_per_video,
        )

    return Estimate(
        device=where.type,
        num_rows=num_rows,
        store_bytes=num_rows * (channels * 2 + _LEDGER_BYTES),
        memory_bytes=None if probe.peak_bytes is None else int(probe.peak_bytes),
        best=times(min),
        slowest=times(max),
        num_tries=len(probe.tries_s),
        busy=busy,
        epochs=train.epochs,
        validate_every=train.validate_every,
    )


def _device(name: str | None) -> torch.device:
    """The device of this name; None: the one that training takes by itself."""
    available = {
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available(),
        "cpu": True,
    }
    here = [device for device, there in available.items() if there]
    if name is not None and name not in here:
        raise ConfigError(f"--device {name}: torch finds {', '.join(here)} here")
    return torch.device(name or here[0])


def _typical(videos: Sequence[float]) -> float:
    """The median; without videos nothing."""
    return float(np.median(videos)) if videos else 0.0


def _range(best_s: float, slowest_s: float) -> str:
    """Both in words, `3 to 4 min` or `82 min to 2.3 h`; one where they read alike."""
    low, high = rough_time(best_s), rough_time(slowest_s)
    if low == high:
        return low
    number, unit = low.split()
    return f"{number} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"


def rough_time(seconds: float) -> str:
    """A duration in its largest fitting unit: `42 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit < 3600 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} days"
