"""Section predict: a model finds on the device what it finds on the CPU; and where its seconds go."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks.gpu.matching import matched
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import SWIN_T, TOY_ENCODER, decoder_settings
from benchmarks.gpu.videos import LABELS, video_paths
from tal.decoders.base import Candidates
from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.whole import WholeVideo, decoders_for, encode_videos
from tal.inference.detector import Detector
from tal.inference.localize import choose, find
from tal.inference.model_folder import write_model
from tal.localizer import Localizer, LocalizerConfig
from tal.video.pool import Decoded, DecodeTask, decode_all

_FPS = 15.0
_VIDEOS = 2
_NOISE = 0.05  # as in the section equality: scores of fresh weights are all the same


def run(work: Workplace) -> None:
    """Both ways through long videos, with random weights."""
    for long in ("windows", "chunks"):
        folder = write(work, long)
        there, here = (Detector.load(folder, device) for device in (work.device, "cpu"))
        shares = []
        for path in video_paths(work.folder)[:_VIDEOS]:
            mine, theirs = there.predict(path), here.predict(path)
            shares.append(matched(_candidates(mine, there), _candidates(theirs, here)))
        row = {"long": long, "matched": min(shares), "seconds": _seconds(work, there)}
        work.results.add("predict", row)
        held = row["matched"] == 1
        work.results.check(f"predict.{long}", held, row["matched"], 1, "matched", needs_cuda=True)


def write(work: Workplace, long: str) -> Path:
    """A model folder of an encoder and ActionFormer, whose local attention allows chunks."""
    encoder = TOY_ENCODER if work.toy else SWIN_T
    tree: dict[str, Any] = {
        "data": {"fps": _FPS},
        "encoder": encoder,
        "window": {"num_rows": 32 if work.toy else 128},
        "localizer": {"decoder": {**decoder_settings("actionformer", work.toy)}},
        "inference": {"long": long, "min_score": 0.0},
    }
    network = build_encoder(EncoderConfig(**encoder), seed=0)
    torch.manual_seed(0)
    config = LocalizerConfig.model_validate(tree["localizer"])
    localizer = Localizer(config, network.channels, len(LABELS), tree["window"]["num_rows"])
    with torch.no_grad():
        for parameter in localizer.parameters():
            parameter.add_(_NOISE * torch.randn_like(parameter))
    weights = {f"encoder.{name}": value for name, value in network.state_dict().items()}
    weights |= {f"localizer.{name}": value for name, value in localizer.state_dict().items()}
    folder = work.folder / f"model-{long}"
    return write_model(folder, weights, yaml.safe_dump(tree), LABELS, {}, {})


def _candidates(found: pd.DataFrame, detector: Detector) -> Candidates:
    return Candidates(
        torch.tensor(found[["start_s", "end_s"]].to_numpy(np.float64)),
        torch.tensor(found["score"].to_numpy(np.float64)),
        torch.tensor([detector.labels.index(str(label)) for label in found["label"]], dtype=torch.long),
    )


def _seconds(work: Workplace, detector: Detector) -> dict[str, float]:
    """Each part by itself, in a prediction the first two go on at once: seconds for all the videos."""
    assert detector.encoder is not None
    paths = video_paths(work.folder)[:_VIDEOS]
    workers = decoders_for(detector.device)
    config = detector.config.windows

    def tasks() -> list[DecodeTask]:
        return [DecodeTask(str(path), path, "auto", _FPS) for path in paths]

    begin = time.perf_counter()
    decoded = [e for e in decode_all(tasks(), detector.encoder.clip_shape, workers) if isinstance(e, Decoded)]
    decode_s = time.perf_counter() - begin
    encoding = detector.clip_encoder()
    picture = np.zeros(detector.encoder.clip_shape.shape, np.uint8)
    begin = time.perf_counter()
    for _ in decoded:
        list(encoding.add("x", 0, picture))
    list(encoding.flush())
    encode_s = time.perf_counter() - begin
    localize_s = suppress_s = 0.0
    with closing(encode_videos(detector.clip_encoder(), tasks(), workers)) as videos:
        for video in videos:
            assert isinstance(video, WholeVideo)
            grid, duration_s = detector.encoder.grid.rows_at(video.fps), video.info.duration_s
            begin = time.perf_counter()
            candidates = find(detector.localizer, video.rows, grid, config, duration_s)
            localize_s += time.perf_counter() - begin
            begin = time.perf_counter()
            choose(candidates, config.for_length(duration_s))
            suppress_s += time.perf_counter() - begin
    return {"decode": decode_s, "encode": encode_s, "localize": localize_s, "suppress": suppress_s}
