"""Section resume: a run that was killed goes on to the bit, in 32 bits and with fp16's loss scale."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file

from benchmarks.gpu.making import forget_accelerator
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import SWIN_T, TOY_ENCODER, decoder_settings, run_config
from featstore import FeatureStore
from pipelines.config import RunConfig, save_resolved
from pipelines.extract import ExtractOptions, extract
from pipelines.train import train
from pipelines.train.checkpoint import list_checkpoints, load_weights
from pipelines.train.step import TrainStep

SLOWER = 1.1
_EVERY = 6  # steps from one checkpoint to the next
_STEPS, _KILLED_AT = 12, 9
_UNTIMED = 2  # first steps of a process


def run(work: Workplace) -> None:
    """One run whole, one killed and resumed, in each precision that the device has."""
    extract(_config(work, "fp32"), ExtractOptions(device=work.device, dtype="float32", precision="fp32"))
    for precision in ("fp32", "fp16") if work.on_cuda else ("fp32",):
        row = _compare(work, precision)
        work.results.add("resume", row)
        name = f"resume.{precision}"
        if precision == "fp32":  # of fp16 it is reported
            work.results.check(f"{name}.equal", row["equal"], row["max_abs"], 0, "largest difference")
        before, after = row["step_s"]
        held = after <= SLOWER * before
        work.results.check(f"{name}.pace", held, after / before, SLOWER, "of before", needs_cuda=True)
        fused = row["optimizer_fused"]
        work.results.check(f"{name}.fused", fused == [True], str(fused), "[True]", needs_cuda=True)
    if not work.on_cuda:
        work.results.check("resume.fp16", None, needs_cuda=True)


def _config(work: Workplace, precision: str) -> RunConfig:
    encoder = TOY_ENCODER if work.toy else {**SWIN_T, "drop_path": 0.1}
    rows = 32 if work.toy else 128
    return run_config(
        work,
        "resume",
        encoder,
        data={"val_subset": ""},
        memory={"ratio": 0.25},
        window={"num_rows": rows, "windows_per_video": 3},
        localizer={"decoder": decoder_settings("actionformer", work.toy)},
        train={
            "device": work.kind,
            "precision": precision,
            "batch_size": 3,
            "epochs": 1 if work.on_cuda else 4,
            "checkpoint_every": _EVERY,
            "ema_decay": 0.9,
            "deterministic": True,
            "workers": 2 if work.on_cuda else 0,  # each of the runs starts its own
            "log_every": 1000,
        },
    )


def _compare(work: Workplace, precision: str) -> dict[str, Any]:
    config = _config(work, precision)
    whole, killed = (work.folder / f"{kind}-{precision}" for kind in ("whole", "killed"))
    path = save_resolved(config, work.folder, f"resume-{precision}.yaml")
    begin = time.perf_counter()
    before = _train(config, whole)
    whole_s = time.perf_counter() - begin
    command = [sys.executable, "-m", "benchmarks.gpu.killed", str(path), str(killed), str(_KILLED_AT)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode != -signal.SIGKILL:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"the run to be killed ended with code {child.returncode}: {last}")
    after = _train(config, killed, resume=True)
    difference, places = _difference(whole, killed)
    optimizer = load_weights(list_checkpoints(killed / "checkpoints")[-1].path)[2]["optimizer"]
    return {
        "precision": precision,
        "equal": difference == 0,
        "max_abs": difference,
        "differs_at": places[:3],
        "optimizer_fused": sorted({bool(group.get("fused")) for group in optimizer["param_groups"]}),
        "step_s": [before, after],
        "whole_run_s": whole_s,
    }


def _train(config: RunConfig, out: Path, resume: bool = False) -> float:
    """Train to the end in this process; median seconds of a step, decoding left out."""
    forget_accelerator()
    seconds: list[float] = []
    real = TrainStep.run

    def timed(self: TrainStep, *arguments: Any) -> Any:
        begin = time.perf_counter()
        record = real(self, *arguments)
        seconds.append(time.perf_counter() - begin)
        return record

    with mock.patch.object(TrainStep, "run", timed):
        result = train(config, out, resume)
    assert result.step >= _STEPS, f"{result.step} steps instead of {_STEPS} or more"
    return statistics.median(seconds[_UNTIMED:])


def _difference(one: Path, two: Path) -> tuple[float, list[str]]:
    """The largest difference of anything that the last checkpoints and the memories hold, and where."""
    most, places = 0.0, []
    for name, mine, theirs in (*_weights(one, two), *_rows(one, two)):
        if not torch.equal(mine, theirs):
            places.append(name)
            most = max(most, float((mine.double() - theirs.double()).abs().max()))
    return most, places


def _weights(one: Path, two: Path) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    last = [list_checkpoints(run / "checkpoints")[-1] for run in (one, two)]
    assert last[0].state.step == last[1].state.step
    pairs = []
    for file in ("model.safetensors", "average.safetensors"):
        mine, theirs = (load_file(checkpoint.path / file) for checkpoint in last)
        pairs += [(f"{file}: {key}", mine[key], theirs[key]) for key in mine]
    scales = [load_weights(checkpoint.path)[2].get("scaler", {}).get("scale", 0.0) for checkpoint in last]
    return [*pairs, ("loss scale", torch.tensor(scales[0]), torch.tensor(scales[1]))]


def _rows(one: Path, two: Path) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    pairs = []
    with FeatureStore.open(one / "memory.zarr") as mine, FeatureStore.open(two / "memory.zarr") as theirs:
        for video in mine.videos()["id"]:
            count = mine.video(video).num_rows
            rows, rows_ = (torch.from_numpy(store.read(video, 0, count)) for store in (mine, theirs))
            pairs.append((f"memory: {video}", rows, rows_))
    return pairs
