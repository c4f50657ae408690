"""Several processes: the same batches, the same losses, each video in one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from featstore import FeatureStore
from pipelines.config import save_resolved
from pipelines.train import train
from pipelines.train.run_log import read_log
from tal.encoders import EncoderConfig, build_encoder
from tal.shared.weights import contiguous
from tests.pipelines.tiny_run import ENCODER, make_data, make_store, tiny_config
from tests.pipelines.train.test_train_accumulate import DECODERS

ROOT = Path(__file__).resolve().parents[3]


def launch(config_path: Path, out: Path, processes: int, *more: str) -> subprocess.CompletedProcess:
    """`longtal train` in several processes."""
    command = ["cli.py", "train", "--config", str(config_path), "--out", str(out), *more]
    return in_processes(processes, *command)


def in_processes(number: int, *program: str) -> subprocess.CompletedProcess:
    agent = "tests/pipelines/train/agent.py"
    command = [sys.executable, agent, "--nproc-per-node", str(number), "--standalone", *program]
    env = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    env = os.environ | env | {"GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=env, cwd=ROOT, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accumulate"),
    [
        ("actionformer", 1),
        ("temporalmaxer-ota", 1),
        ("daotad", 1),
        ("afsd", 1),
        ("daotad", 2),
        ("actionformer", 2),
    ],
)
def test_processes_have_the_losses_of_one_and_share_the_memory(tmp_path, name, accumulate):
    make_data(tmp_path)
    make_store(tmp_path)
    config = tiny_config(
        tmp_path,
        localizer={"decoder": DECODERS[name]},
        train={"batch_size": 4, "epochs": 3},
    )
    train(config, tmp_path / "one")
    path = save_resolved(config, tmp_path, "run.yaml")
    more = ("--set", f"train.accumulate={accumulate}")
    done = launch(path, tmp_path / "two", 2, *more)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = read_log(tmp_path / "one", "step"), read_log(tmp_path / "two", "step")
    assert [r["step"] for r in one] == [r["step"] for r in two] == list(range(1, len(one) + 1))
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=2e-3)
    assert read_log(tmp_path / "two", "validation")[-1]["mAP"] == pytest.approx(
        read_log(tmp_path / "one", "validation")[-1]["mAP"], abs=1e-3
    )
    with (
        FeatureStore.open(tmp_path / "one" / "memory.zarr") as first,
        FeatureStore.open(tmp_path / "two" / "memory.zarr") as second,
    ):
        for video in first.video_ids:
            rows = first.video(video).num_rows
            steps = [s.ledger(video, 0, rows)["step"] for s in (first, second)]
            assert (steps[0] == steps[1]).all()
            assert abs(first.read(video, 0, rows) - second.read(video, 0, rows)).max() < 1e-2
    resumed = launch(path, tmp_path / "two", 2, *more, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_train_the_adapters_of_one(tmp_path):
    """One set of adapters in both, from the windows of both; the trunk rests, and no file holds it."""
    make_data(tmp_path)
    make_store(tmp_path)
    weights = tmp_path / "trunk.safetensors"
    trunk = build_encoder(EncoderConfig(**ENCODER)).model.state_dict()
    save_file(contiguous(trunk), weights)
    config = tiny_config(
        tmp_path,
        encoder={"weights": str(weights), "adapter": {"kind": "temporal"}},
        train={"batch_size": 4, "epochs": 3},
        # Adam would make steps of one size of gradients that are rounding alone
        optim={"name": "sgd", "lr": 0.05},
    )
    train(config, tmp_path / "one")
    path = save_resolved(config, tmp_path, "run.yaml")
    script = "tests/pipelines/train/each_rank.py"
    done = in_processes(2, script, str(path), str(tmp_path / "two"), str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    assert not [k for k, v in ranks[0].items() if not torch.equal(v, ranks[1][k])]
    assert not [k for k, v in trunk.items() if not torch.equal(v, ranks[1][f"encoder.model.{k}"])]
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    adapters = [k for k in one if k.startswith("encoder.")]
    assert adapters and all(k.startswith("encoder.adapters.") for k in adapters)
    assert one.keys() == two.keys()
    for key in adapters:
        torch.testing.assert_close(two[key], one[key], rtol=1e-2, atol=1e-5)
    assert any(one[key].abs().max() > 0 for key in adapters if ".up." in key)
    for a, b in zip(*(read_log(tmp_path / n, "step") for n in ("one", "two")), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-4)
