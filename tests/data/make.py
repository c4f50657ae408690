"""Write what a version of longtal leaves on disk: a feature store, a model folder, an interrupted run.

Run by that version's code, in an empty folder, which becomes tests/data/VERSION (see README.md there).
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.train import train
from pipelines.train.run_log import read_log
from pipelines.train.step import TrainStep
from tal import Detector
from tal.encoders import EncoderConfig, build_encoder, encode_video, feature_spec
from tal.video import open_video
from tests.pipelines.tiny_run import ENCODER, FPS, make_data, tiny_config

WEIGHTS = "encoder.safetensors"
# Chunk files have their full size from the start, and git keeps no holes.
CHUNK_BYTES = 16 << 10
# The run is left as a kill at the begin of this step would leave it: checkpoint of step 6, rows of step 7 in
# the memory's log.
KILLED_AT = 8
DETECTIONS = 20
DECODER = {"name": "actionformer", "embed_dim": 8, "head_dim": 8, "levels": 2, "heads": 2, "window": 5}


def make_weights() -> None:
    """What the encoder begins with: random, but in a file, since another machine draws other numbers.

    Rounded to bfloat16's values, which git packs to half the size.
    """
    encoder = build_encoder(EncoderConfig(**ENCODER))
    state = encoder.model.state_dict()
    rounded = {k: v.bfloat16().float() if v.is_floating_point() else v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in rounded.items()}, WEIGHTS)


def make_store() -> None:
    """The videos' rows as float16; ``holes`` has unwritten rows and seconds of its own, ``broken`` failed."""
    encoder = build_encoder(EncoderConfig(**ENCODER, weights=WEIGHTS))
    spec = feature_spec(encoder, FPS, dtype="float16")
    with FeatureStore.create("store.zarr", spec, chunk_bytes=CHUNK_BYTES) as store:
        for path in sorted(Path("videos").glob("*.mp4")):
            with open_video(path) as video:
                frames, duration_s = video.num_frames(FPS), video.info.duration_s
                store.add_video(path.stem, encoder.grid.num_rows(frames), FPS, duration_s, frames)
                for start, rows, _ in encode_video(encoder, video, FPS):
                    store.write(path.stem, start, rows, step=0)
            store.complete(path.stem)
        store.commit()
        known = store.read("v05", 0, 24)
        store.add_video("holes", 24, FPS, 6.0, 48, row_times_s=np.arange(24) * 0.25 + 0.3)
        for start, stop in ((0, 6), (10, 24)):
            store.write("holes", start, known[start:stop], step=0)
        store.complete("holes")
        store.add_video("broken", 3, FPS)
        store.fail("broken", "the file ends in its header")
        store.commit()


def run_config() -> RunConfig:
    """Three epochs of four steps, a checkpoint every third; paths are relative to the folder."""
    return tiny_config(
        Path(),
        encoder={"weights": WEIGHTS, "frozen_stages": 5},  # so the optimizer's state is small
        memory={"ratio": 0.5, "sampler": "mixture"},
        window={"windows_per_video": 2},
        localizer={"row_loss": 0.2, "decoder": DECODER},
        train={"epochs": 3, "checkpoint_every": 3, "validate_from": 0, "select": "last"},
        inference={"row_weight": 0.2, "suppression": {"max_segments": DETECTIONS}},
    )


def make_run() -> list[list[float]]:
    """Train to the end, taking a copy of the run on the way: (step, loss, gradient norm) of the steps after
    the copy's checkpoint, as the uninterrupted run did them.
    """
    step = TrainStep.run

    def copying(self: TrainStep, number: int, batches: Any, meanwhile: Any) -> Any:
        if number == KILLED_AT:
            shutil.copytree("whole", "run")
        return step(self, number, batches, meanwhile)

    TrainStep.run = copying  # type: ignore[method-assign]
    train(run_config(), "whole", command=["tests/data/make.py"])
    TrainStep.run = step  # type: ignore[method-assign]
    shutil.move("run/model", "model")
    for name in ("tensorboard", "models", "validation"):
        shutil.rmtree(f"run/{name}")
    checkpoints = sorted(Path("run/checkpoints").iterdir())
    for old in checkpoints[:-1]:
        shutil.rmtree(old)
    first = int(checkpoints[-1].name.removeprefix("step_"))
    steps = [[r["step"], r["loss"], r["grad_norm"]] for r in read_log("whole", "step") if r["step"] > first]
    shutil.rmtree("whole")
    return steps


def forget_machine() -> None:
    """Take out the names of the machine: the holder of the memory's lock, the kernel in provenance.json."""
    Path("run/memory.zarr/log/lock.000").write_text("")
    for folder in ("run", "model"):
        path = Path(folder) / "provenance.json"
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {"machine": "Linux-x86_64"}, indent=1) + "\n")


def store_facts(path: str) -> dict[str, Any]:
    """What any later version must read from a store."""
    with FeatureStore.open(path) as store:
        videos = {}
        for name in store.video_ids:
            record = store.video(name)
            rows, valid = store.read(name, 0, record.num_rows, return_valid=True)
            ledger = store.ledger(name)
            videos[name] = {
                "num_rows": record.num_rows,
                "fps": record.fps,
                "duration_s": record.duration_s,
                "num_frames": record.num_frames,
                "sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
                "row_2": rows[2, :4].tolist(),
                "valid": valid.astype(int).tolist(),
                "time_s": ledger["time_s"].tolist(),
                "step": ledger["step"].tolist(),
            }
        return {
            "generation": store.generation,
            "spec": store.spec.to_dict(),
            "videos": videos,
            "failed": {name: store.video(name).reason for name in store.ids("failed")},
            "staleness": table(store.staleness()),
        }


def table(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON has them; null for what is not a number."""
    return [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def detections() -> dict[str, Any]:
    """What the model folder finds in rows of the store (by video) and in a video file."""
    detector = Detector.load("model", device="cpu")
    with FeatureStore.open("store.zarr") as store:
        found = {name: detector.predict_store(store, name) for name in ("v04", "v05", "holes")}
    found["v04.mp4"] = detector.predict("videos/v04.mp4")
    return {name: table(frame.drop(columns="video_id")) for name, frame in found.items()}


def main() -> None:
    if any(Path().iterdir()):
        sys.exit("run it in an empty folder")
    torch.set_num_threads(1)
    make_data(Path(), train=4, validation=2)
    make_weights()
    make_store()
    losses = make_run()
    forget_machine()
    expected = {
        "version": version("longtal"),
        "store": store_facts("store.zarr"),
        "memory": store_facts("run/memory.zarr"),
        "detections": detections(),
        "steps": losses,
    }
    Path("expected.json").write_text(json.dumps(expected, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
