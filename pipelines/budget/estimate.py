"""What a configuration will cost, from a few clips and one window really decoded and computed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.config import RunConfig
from tal.decoders.base import Targets
from tal.encoders import build_encoder
from tal.errors import ConfigError, VideoError
from tal.grid import ClipGrid, FrameGrid
from tal.localizer import Localizer
from tal.memory.clip_sampling import num_sampled
from tal.video import open_video

# A row's part of the ledger: time, step, written_at, writes, checksum.
_LEDGER_BYTES = 8 + 8 + 8 + 4 + 4
# float32 weights, their gradients and AdamW's two moments.
_BYTES_A_PARAMETER = 16
_GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Bytes and seconds on ``device``; an epoch is its steps, validations come on top."""

    device: str
    num_rows: int
    store_bytes: int
    memory_bytes: int
    extract_s: float
    step_s: float
    epoch_s: float
    validation_s: float
    epochs: int
    validate_every: int

    @property
    def total_s(self) -> float:
        validations = math.ceil(self.epochs / self.validate_every)
        return self.extract_s + self.epochs * self.epoch_s + validations * self.validation_s

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"disk: {2 * self.store_bytes / _GIB:.2f} GiB for {self.num_rows} feature rows "
            f"(the extraction and the run's own copy)",
            f"memory while training: about {self.memory_bytes / _GIB:.1f} GiB on {self.device}",
            f"time on this machine ({self.device}): extraction {rough_time(self.extract_s)}, a step "
            f"{self.step_s:.2f} s, an epoch {rough_time(self.epoch_s)}, "
            f"a validation {rough_time(self.validation_s)}, "
            f"all of it with {self.epochs} epochs about {rough_time(self.total_s)}",
        ]


@dataclass(frozen=True)
class Sizes:
    """What the data are like: ``durations_s`` of all videos, and how many are for training.

    ``paths`` are some of the videos, to time decoding with; none: decoding counts as free.
    """

    durations_s: np.ndarray
    num_train: int
    paths: Sequence[Path] = ()


def estimate(config: RunConfig, sizes: Sizes, device: str | None = None) -> Estimate:
    """Decode some clips, run one through the encoder and a window through the localizer, back and forth.

    Activations are counted in bytes as autograd keeps them, which is the same on every device. Weights are
    random: they change neither time nor memory. Other work on the machine makes the times too long.
    """
    assert config.encoder is not None
    where = _device(device)
    settings = config.encoder
    encoder = build_encoder(settings.model_copy(update={"weights": None, "weights_sha256": None})).to(where)
    localizer = Localizer(config.localizer, encoder.channels, 2, config.window.num_rows).to(where)
    grid, sampling = settings.grid, FrameGrid(config.data.fps)
    frames = [sampling.num_frames(float(duration)) for duration in sizes.durations_s]
    rows, clips = sum(map(grid.num_rows, frames)), sum(map(grid.num_clips, frames))

    crop = encoder.preprocess.crop
    pictures = torch.randn(1, 3, grid.clip_frames, crop, crop, device=where)
    features = torch.randn(1, encoder.channels, config.window.num_rows, device=where)
    mask = torch.ones(1, 1, config.window.num_rows, dtype=torch.bool, device=where)
    middle = config.window.num_rows / config.localizer.downsample / 2
    target = Targets(
        torch.tensor([[middle - 2, middle + 2]], device=where), torch.zeros(1, dtype=torch.long).to(where)
    )
    with torch.no_grad():
        encoder(pictures)  # the first call also sets things up
        encode_s = _seconds(lambda: encoder(pictures), where)
    clip_bytes, clip_s = _cost(encoder, lambda: encoder(pictures).sum(), where)
    window_bytes, window_s = _cost(
        localizer, lambda: localizer.losses(localizer(features, mask), [target])["loss"], where
    )
    random_s, next_s = _decoding(sizes.paths, config.data.fps, grid, encoder.preprocess.size)

    batch, windows = config.train.batch_size, config.train.batch_size // config.train.accumulate
    fresh = num_sampled(grid.whole_clips(config.window.num_rows), config.memory.ratio)
    parameters = sum(p.numel() for p in encoder.parameters()) + sum(p.numel() for p in localizer.parameters())
    step_s = batch * (fresh * (clip_s + random_s) + window_s)
    steps = math.ceil(sizes.num_train / batch) * config.window.windows_per_video
    held_out = 1 - sizes.num_train / len(sizes.durations_s)
    return Estimate(
        device=where.type,
        num_rows=rows,
        store_bytes=rows * (encoder.channels * 2 + _LEDGER_BYTES),
        memory_bytes=parameters * _BYTES_A_PARAMETER + windows * (fresh * clip_bytes + window_bytes),
        extract_s=clips * max(encode_s, next_s),  # the one beside the other
        step_s=step_s,
        epoch_s=steps * step_s,
        validation_s=held_out * clips * (encode_s + next_s),  # every clip, as in a prediction
        epochs=config.train.epochs,
        validate_every=config.train.validate_every,
    )


def _decoding(paths: Sequence[Path], fps: float, grid: ClipGrid, size: int) -> tuple[float, float]:
    """Seconds of a clip somewhere in a video, and of the clip after it; medians over the videos."""
    times: list[tuple[float, float]] = []
    for path in paths:
        with suppress(VideoError), open_video(path) as video:  # damaged inside: extraction will say so
            first = max(0, grid.num_clips(video.num_frames(fps)) // 2 - 1)
            pair = []
            for clip in (first, first + 1):
                begin = time.perf_counter()
                video.frames(grid.frames_of_clip(clip), fps=fps, size=size)
                pair.append(time.perf_counter() - begin)
            times.append((pair[0], pair[1]))
    random_s, next_s = np.median(np.array(times), axis=0) if times else (0.0, 0.0)
    return float(random_s), float(next_s)


def _device(name: str | None) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is not None and not available.get(name, False):
        raise ConfigError(
            f"--device {name}: torch finds {', '.join(k for k, v in available.items() if v)} here"
        )
    return torch.device(name or ("cuda" if available["cuda"] else "cpu"))


def _cost(module: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> tuple[int, float]:
    """(bytes kept for the backward pass, seconds of forward and backward)."""
    kept: dict[int, int] = {}
    own = {p.data_ptr() for p in module.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    module.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss().backward()
    seconds = _seconds(lambda: loss().backward(), device)
    module.zero_grad(set_to_none=True)
    return sum(kept.values()), seconds


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def rough_time(seconds: float) -> str:
    """A duration in its largest fitting unit: `42 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit < 3600 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} days"
