"""A data set, a store and a configuration so small that a run takes a second or two."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from featstore import FeatureStore
from pipelines.config import RunConfig, parse_config
from pipelines.train.run_log import read_log
from pipelines.train.step import TrainStep
from tal.encoders import EncoderConfig, build_encoder, encode_video, feature_spec
from tal.video import open_video

FPS = 8.0
ENCODER = {"name": "timm:test_efficientnet", "clip_frames": 4, "frame_stride": 2, "size": 40, "crop": 32}


def make_data(folder: Path, train: int = 6, validation: int = 2) -> None:
    """Videos of 64x48 px, 7-10 s: a grey field on which a square rises (label up) or falls (label down)."""
    (folder / "videos").mkdir(parents=True)
    rng = np.random.default_rng(3)
    database = {}
    for number in range(train + validation):
        name = f"v{number:02d}"
        seconds = 7.0 + number % 4
        begin = float(rng.integers(8, 24)) / 8
        label = "up" if number % 2 else "down"
        _write_video(folder / "videos" / f"{name}.mp4", seconds, begin, begin + 3.0, label, rng)
        database[name] = {
            "subset": "training" if number < train else "validation",
            "duration": seconds,
            "annotations": [{"label": label, "segment": [begin, begin + 3.0]}],
        }
    (folder / "annotations.json").write_text(
        json.dumps({"version": "1", "taxonomy": [], "database": database})
    )


def _write_video(
    path: Path, seconds: float, begin: float, end: float, label: str, rng: np.random.Generator
) -> None:
    ground = rng.integers(40, 200, (48, 64, 3)).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=16, options={"g": "16", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(int(seconds * 16)):
            picture = ground.copy()
            t = k / 16
            if begin <= t < end:
                place = int(36 * ((t - begin) % 1.0))
                top = 36 - place if label == "up" else place
                picture[top : top + 12, 16:28] = (250, 30, 30)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def make_store(folder: Path, dtype: str = "float32") -> Path:
    """Every video of the folder encoded by the tiny encoder's initial weights."""
    encoder = build_encoder(EncoderConfig(**ENCODER))
    path = folder / "store.zarr"
    with FeatureStore.create(path, feature_spec(encoder, FPS, dtype=dtype)) as store:
        for video in sorted((folder / "videos").glob("*.mp4")):
            with open_video(video) as reader:
                frames, duration_s = reader.num_frames(FPS), reader.info.duration_s
                rows = encoder.grid.num_rows(frames)
                store.add_video(video.stem, rows, FPS, duration_s, frames)
                for start, values, _ in encode_video(encoder, reader, FPS):
                    store.write(video.stem, start, values, step=0)
            store.complete(video.stem)
        store.commit()
    return path


def tiny_config(folder: Path, **sections: dict) -> RunConfig:
    """A run of 2 epochs of 3 steps through the memory; ``sections`` are laid over it."""
    tree: dict = {
        "data": {
            "annotations": str(folder / "annotations.json"),
            "videos": str(folder / "videos"),
            "store": str(folder / "store.zarr"),
            "fps": FPS,
        },
        "encoder": dict(ENCODER),
        "memory": {"ratio": 0.25},
        "window": {"num_rows": 32, "crop_ratio": [1.0, 1.0]},
        "localizer": {
            "decoder": {
                "name": "actionformer",
                "embed_dim": 16,
                "head_dim": 16,
                "levels": 3,
                "heads": 2,
                "window": 5,
            }
        },
        "optim": {"lr": 1e-3, "warmup_epochs": 0.5},
        "train": {"epochs": 2, "batch_size": 2, "device": "cpu", "log_every": 100, "validate_from": 99},
        "inference": {"min_score": 0.0},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    return parse_config(tree)


class Killed(RuntimeError):
    """Ends a run that a test kills."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The process dies at the begin of a step: nothing is closed or flushed in order."""
    real = TrainStep.run

    def dying(self, number, batches, meanwhile):
        if number == step:
            raise Killed
        return real(self, number, batches, meanwhile)

    monkeypatch.setattr(TrainStep, "run", dying)


def losses(run: Path) -> list[tuple[int, float, float]]:
    """(step, loss, gradient norm) of every step in the log."""
    return [(r["step"], r["loss"], r["grad_norm"]) for r in read_log(run, "step")]


def assert_same_detections(one: pd.DataFrame, two: pd.DataFrame) -> None:
    """The same labels in the same order, seconds and scores to rounding; there are some."""
    assert len(one) == len(two) > 0, f"{len(one)} and {len(two)} detections"
    assert one["label"].astype(str).tolist() == two["label"].astype(str).tolist()
    for column in ("start_s", "end_s", "score"):
        np.testing.assert_allclose(one[column], two[column], rtol=1e-5, atol=1e-6, err_msg=column)
