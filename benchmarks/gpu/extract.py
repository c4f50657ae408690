"""Section extract: rows are right however they are made, and as many a second as the model gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.extract_rates import measure_rates
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import SWIN_B, TOY_ENCODER, run_config
from benchmarks.gpu.videos import video_paths
from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.extract import ExtractOptions, extract
from tal.encoders import build_encoder, encode_video
from tal.shared.cores import usable_cores

Rows = dict[str, NDArray[np.float32]]
BATCH = 16
LEAST_BATCHES = 6
COSINE = 0.999


def run(work: Workplace) -> None:
    """Rows in two precisions, with and without workers, from another card; then rates."""
    config = run_config(work, "extract", TOY_ENCODER if work.toy else SWIN_B)
    how = ExtractOptions(device=work.device, dtype="float32", batch_clips=4 if work.toy else BATCH)
    work.results.check("extract.stream", _streams_are_the_encoders(work), needs_cuda=True)
    for precision in ("fp32",) if work.toy else ("bf16", "fp32"):
        rows = _extracted(work, config, replace(how, precision=precision, workers=_workers()), precision)
        _compare_with_plain(work, config, rows, how.batch_clips, precision)
    alone = _extracted(work, config, replace(how, precision="fp32", workers=0), "alone")
    work.results.check("extract.workers_change_nothing", _equal(alone, rows))
    if torch.cuda.device_count() > 1:
        other = _extracted(work, config, replace(how, device="cuda:1", precision="fp32"), "other")
        value = min(_cosine(other[key], rows[key]) for key in rows)
        work.results.check("extract.other_card", value > COSINE, value, COSINE, "cosine", needs_cuda=True)
    measure_rates(work, config)


def _extracted(work: Workplace, config: RunConfig, how: ExtractOptions, name: str) -> Rows:
    """All rows of an extraction into a store of its own."""
    store = work.folder / f"extract-{name}.zarr"
    data = config.data.model_copy(update={"store": str(store)})
    report = extract(config.model_copy(update={"data": data}), how)
    assert not report.failed, f"videos failed: {report.failed}"
    return _read(store)


def _read(path: Path) -> Rows:
    with FeatureStore.open(path) as store:
        return {video: store.read(video, 0, store.video(video).num_rows) for video in store.videos()["id"]}


def _compare_with_plain(work: Workplace, config: RunConfig, rows: Rows, batch: int, precision: str) -> None:
    """One video clip by clip, without workers and overlap: on the device to the bit, on the CPU by cosine."""
    assert config.encoder is not None
    encoder = build_encoder(config.encoder, seed=config.train.seed)
    clips = sum(-(-len(r) // encoder.grid.rows_per_clip) for r in rows.values())
    batches = clips / batch
    check = work.results.check
    check(f"extract.{precision}.batches", batches >= LEAST_BATCHES, batches, LEAST_BATCHES, "batches")
    path = video_paths(work.folder)[-1]
    one_clip = next(encode_video(encoder, path, config.data.fps, "cpu", 1))[1]
    value = _cosine(rows[path.stem][: len(one_clip)], one_clip)
    check(f"extract.{precision}.cpu", value > COSINE, value, COSINE, "cosine", needs_cuda=True)
    encoder.to(work.where)
    plain = encode_video(encoder, path, config.data.fps, work.where, batch, precision)
    expected = np.concatenate([part for _, part, _ in plain])
    difference = float(np.abs(expected - rows[path.stem]).max())
    check(f"extract.{precision}.rows", difference == 0, difference, 0, "largest difference")


def _streams_are_the_encoders(work: Workplace) -> bool:
    """Whether the event that says that rows have arrived is recorded on the encoder's own stream.

    With the current device another one than the encoder's, where there are two.
    """
    if not work.on_cuda:
        return False
    from tal.encoders.stream import ClipEncoder

    settings = run_config(work, "extract", TOY_ENCODER).encoder
    assert settings is not None
    device = torch.device("cuda", 1 if torch.cuda.device_count() > 1 else 0)
    clips = ClipEncoder(build_encoder(settings, seed=0), device, 1, "fp32")
    picture = np.zeros(clips.encoder.clip_shape.shape, np.uint8)
    streams: list[Any] = []
    real = torch.cuda.Event.record

    def record(event: torch.cuda.Event, stream: torch.cuda.Stream | None = None) -> None:
        streams.append(stream)
        real(event, stream)

    with mock.patch.object(torch.cuda.Event, "record", record):
        for clip in range(3):
            list(clips.add("x", clip, picture))
        list(clips.flush())
    return len(streams) == 3 and all(s == torch.cuda.current_stream(device) for s in streams)


def _workers() -> int:
    return max(1, usable_cores() - 1)


def _equal(one: Rows, two: Rows) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


def _cosine(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """The smallest of all rows."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(1) / norms).min())
