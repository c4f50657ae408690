"""What a configuration will cost, from one clip and one window really computed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.config import RunConfig
from tal.decoders.base import Targets
from tal.encoders import build_encoder
from tal.errors import ConfigError
from tal.grid import ClipGrid
from tal.localizer import Localizer
from tal.memory.clips import num_sampled

# A row's part of the ledger: time, step, written_at, writes, checksum.
_LEDGER_BYTES = 8 + 8 + 8 + 4 + 4
# float32 weights, their gradients and AdamW's two moments.
_BYTES_A_PARAMETER = 16
_GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Bytes and seconds on ``device``; times leave decoding out."""

    device: str
    num_rows: int
    store_bytes: int
    memory_bytes: int
    extract_s: float
    step_s: float
    epoch_s: float
    total_s: float

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"disk: {2 * self.store_bytes / _GIB:.2f} GiB for {self.num_rows} feature rows "
            f"(the extraction and the run's own copy)",
            f"memory while training: about {self.memory_bytes / _GIB:.1f} GiB on {self.device}",
            f"time on {self.device}, decoding left out: extraction {clock(self.extract_s)}, "
            f"a step {self.step_s:.2f} s, an epoch {clock(self.epoch_s)}, all of it {clock(self.total_s)}",
        ]


def estimate(
    config: RunConfig, durations_s: np.ndarray, num_train: int, device: str | None = None
) -> Estimate:
    """Run one clip through the encoder and one window through the localizer, forward and backward.

    Activations are counted in bytes as autograd keeps them, which is the same on every device. Weights are
    random: they change neither time nor memory.
    """
    assert config.encoder is not None
    where = _device(device)
    settings = config.encoder
    encoder = build_encoder(settings.model_copy(update={"weights": None, "weights_sha256": None})).to(where)
    localizer = Localizer(config.localizer, encoder.channels, 2, config.window.num_rows).to(where)
    grid = ClipGrid(config.data.fps, settings.clip_frames, settings.frame_stride)
    frames = [grid.num_frames(float(duration)) for duration in durations_s]
    rows, clips = sum(map(grid.num_rows, frames)), sum(map(grid.num_clips, frames))

    crop = encoder.preprocess.crop
    pictures = torch.randn(1, 3, settings.clip_frames, crop, crop, device=where)
    features = torch.randn(1, encoder.channels, config.window.num_rows, device=where)
    mask = torch.ones(1, 1, config.window.num_rows, dtype=torch.bool, device=where)
    middle = config.window.num_rows / config.localizer.downsample / 2
    target = Targets(
        torch.tensor([[middle - 2, middle + 2]], device=where), torch.zeros(1, dtype=torch.long).to(where)
    )
    with torch.no_grad():
        encode_s = _seconds(lambda: encoder(pictures), where)
    clip_bytes, clip_s = _cost(encoder, lambda: encoder(pictures).sum(), where)
    window_bytes, window_s = _cost(
        localizer, lambda: localizer.losses(localizer(features, mask), [target])["loss"], where
    )
    windows = config.train.batch_size // config.train.accumulate
    fresh = num_sampled(config.window.num_rows // grid.rows_per_clip, config.memory.ratio)
    parameters = sum(p.numel() for p in encoder.parameters()) + sum(p.numel() for p in localizer.parameters())
    step_s = config.train.batch_size * (fresh * clip_s + window_s)
    steps = -(-num_train // config.train.batch_size) * config.window.windows_per_video
    store = rows * (encoder.channels * 2 + _LEDGER_BYTES)
    extract_s = clips * encode_s
    return Estimate(
        device=where.type,
        num_rows=rows,
        store_bytes=store,
        memory_bytes=parameters * _BYTES_A_PARAMETER + windows * (fresh * clip_bytes + window_bytes),
        extract_s=extract_s,
        step_s=step_s,
        epoch_s=steps * step_s,
        total_s=extract_s + config.train.epochs * steps * step_s,
    )


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


def clock(seconds: float) -> str:
    """`42 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit < 3600 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} days"
