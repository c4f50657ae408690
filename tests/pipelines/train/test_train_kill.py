"""kill -9 in the middle of a run, at a moment of its own choosing; then --resume."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.config import save_resolved
from pipelines.train import train
from tests.pipelines.tiny_run import losses, make_data, make_store, tiny_config

ROOT = Path(__file__).resolve().parents[3]


def start(*arguments: str) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ROOT / "cli.py"), "train", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_outright_goes_on_bit_for_bit(tmp_path, workers):
    make_data(tmp_path)
    make_store(tmp_path, dtype="float16")
    settings = {"epochs": 8, "checkpoint_every": 5, "ema_decay": 0.9, "workers": workers}
    config = tiny_config(tmp_path, memory={"sampler": "mixture"}, train=settings)
    path = str(save_resolved(config, tmp_path, "run.yaml"))
    assert start("--config", path, "--out", str(tmp_path / "whole")).wait(200) == 0

    out = tmp_path / "killed"
    process = start("--config", path, "--out", str(out))
    for _ in range(2000):
        if (out / "log.jsonl").exists() and len(losses_so_far(out)) >= 8:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert start("--resume", "--out", str(out)).wait(200) == 0
    assert losses(out) == losses(tmp_path / "whole") and len(losses(out)) == 24
    assert train(config, out, resume=True).step == 24  # a finished run has nothing left to do


def losses_so_far(run: Path) -> list[str]:
    return [line for line in (run / "log.jsonl").read_text().splitlines() if '"kind": "step"' in line]
