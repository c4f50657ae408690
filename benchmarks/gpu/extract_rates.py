"""Clips a second of decoding, of the bare model, of the encoder as extraction uses it, and of extraction."""

from __future__ import annotations

import time

import torch

from benchmarks.extract import Rates
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.videos import video_paths
from pipelines.config import RunConfig
from tal.device import computing_in
from tal.encoders import Encoder, build_encoder
from tal.encoders.stream import ClipEncoder
from tal.encoders.streaming import encode_clips
from tal.shared.cores import usable_cores
from tal.video.pool import DecodeTask

OF_BARE, OF_SLOWER = 0.95, 0.85
_JUDGED = 16  # the batch that is held against the limits
_ROUNDS = 6


def measure_rates(work: Workplace, config: RunConfig) -> None:
    """Rates of some batches; the ratios are held for one of them, all are reported."""
    assert config.encoder is not None
    encoder = build_encoder(config.encoder, seed=0)
    precision = "fp32" if work.toy else "bf16"
    tasks = [DecodeTask(str(p), p, "auto", config.data.fps) for p in video_paths(work.folder)]
    decode = None
    for batch in (4,) if work.toy else (4, _JUDGED, 64):
        if work.on_cuda:
            torch.cuda.reset_peak_memory_stats(work.where)
        clips = ClipEncoder(encoder, work.where, batch, precision)
        workers = max(1, usable_cores() - 1)
        rates = Rates(clips, tasks, batch, workers)
        decode = rates.decode() if decode is None else decode
        bare = _bare(encoder, work.where, batch, precision)
        alone, pipeline = rates.encode(_ROUNDS), rates.pipeline()
        row = {
            "encoder": config.encoder.name,
            "precision": precision,
            "batch": batch,
            "workers": workers,
            "decode_clips_s": decode,
            "bare_clips_s": bare,
            "clip_encoder_clips_s": alone,
            "pipeline_clips_s": pipeline,
            "of_bare": alone / bare,
            "of_slower": pipeline / min(decode, bare),
            "peak_gb": torch.cuda.max_memory_allocated(work.where) / 1e9 if work.on_cuda else None,
        }
        work.results.add("extract", row)
        if batch == _JUDGED or work.toy:
            check = work.results.check
            check("extract.of_bare", row["of_bare"] >= OF_BARE, row["of_bare"], OF_BARE, needs_cuda=True)
            share = row["of_slower"]
            check("extract.of_slower", share >= OF_SLOWER, share, OF_SLOWER, needs_cuda=True)


@torch.inference_mode()
def _bare(encoder: Encoder, device: torch.device, batch: int, precision: str) -> float:
    """The model alone: pictures lie on the device, and no row comes back."""
    frames = torch.randint(0, 256, (batch, *encoder.clip_shape.shape), dtype=torch.uint8).to(device)
    with computing_in(precision, device):
        encode_clips(encoder, frames)
        _wait(device)
        begin = time.perf_counter()
        for _ in range(_ROUNDS):
            encode_clips(encoder, frames)
        _wait(device)
    return batch * _ROUNDS / (time.perf_counter() - begin)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
