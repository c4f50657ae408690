"""The successor of a run whose adapters learnt: their weights, rows that they made, what files name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from cli import cli
from featstore import FeatureStore
from pipelines.config import load_config
from pipelines.train import train
from tal import Detector
from tal.annotations import Segment
from tal.annotations.corrections import Corrections, Judgement, VideoCorrections, write_corrections
from tal.encoders import EncoderConfig, build_encoder, encode_video
from tal.encoders.base import is_adapter
from tal.shared.weights import contiguous
from tal.video import open_video
from tests.pipelines.tiny_run import ENCODER, FPS, assert_same_detections, make_data, make_store, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")
STILL = ("--set", "optim.lr=1e-12", "--set", "optim.weight_decay=0", "--set", "train.ema_decay=0")
ENCODERS: dict[str, dict[str, Any]] = {
    "temporal": {"adapter": {"kind": "temporal"}},
    "temporal and a stage": {"adapter": {"kind": "temporal", "learning_stages": 1}},
    "lora": {"name": "timm:test_vit", "temporal_shift": False, "adapter": {"kind": "lora"}},
    "temporal on random weights": {"weights": None, "adapter": {"kind": "temporal"}},
}


class World:
    """Videos, corrections of two, and runs by kind of adapter, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_data(folder)
        make_store(folder)
        video = VideoCorrections(
            "v07", actions=(Judgement(Segment(1, 4, "new"), "added"),), reviewed=((0, 7),)
        )
        write_corrections(Corrections(("down", "new", "up"), {"v07": video}), folder / "corrections.json")

    def trunk(self, kind: str) -> Path:
        path = self.folder / f"{kind}.safetensors"
        if not path.exists():
            plain = {k: v for k, v in ENCODERS[kind].items() if k != "adapter"}
            save_file(
                contiguous(build_encoder(EncoderConfig(**{**ENCODER, **plain})).model.state_dict()), path
            )
        return path

    def run(self, kind: str) -> Path:
        out = self.folder / kind
        if out.exists():
            return out
        encoder = {"weights": str(self.trunk(kind)), **ENCODERS[kind]}
        store = self.folder / (f"{kind}.zarr" if kind == "lora" else "store.zarr")
        config = tiny_config(
            self.folder,
            data={"store": str(store)},
            encoder=encoder,
            memory={"ratio": 0.5},
            train={"validate_from": 2, "ema_decay": 0.5},
            optim={"lr": 2e-2, "encoder_lr_multiplier": 1.0},
        )
        if not store.exists():
            from pipelines.extract import extract

            extract(config)
        train(config, out)
        return out

    def again(self, run: Path, out: Path, *more: str) -> Result:
        arguments = ["train", "--from", str(run), "--corrections", str(self.folder / "corrections.json")]
        return CliRunner().invoke(cli, [*arguments, "--out", str(out), *more])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def encoded(run: Path, video: Path) -> np.ndarray:
    """Rows of a video as the run's model makes them."""
    encoder = Detector.load(run, device="cpu").encoder
    assert encoder is not None
    with open_video(video) as reader:
        return np.concatenate([rows for _, rows, _ in encode_video(encoder, reader, FPS)])


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_successor_begins_where_the_adapters_stood(world: World, tmp_path: Path, kind: str) -> None:
    run, out = world.run(kind), tmp_path / "again"
    before = {p: p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}
    result = world.again(run, out, *STILL)
    assert result.exit_code == 0, result.output
    assert "learnt: every video is encoded again with its last adapters" in " ".join(result.stderr.split())
    assert before == {p: p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}

    rows = encoded(run, world.folder / "videos" / "v06.mp4")
    plain = load_config(run / "config.yaml").data.store
    with FeatureStore.open(out / "features.zarr") as store, FeatureStore.open(plain) as first:
        count = store.video("v06").num_rows
        np.testing.assert_allclose(store.read("v06", 0, count), rows, rtol=2e-3, atol=2e-3)  # float16
        assert not np.allclose(store.read("v06", 0, count), first.read("v06", 0, count), rtol=2e-3, atol=2e-3)
        assert (store.ledger("v06", 0, count)["step"] == 0).all() and store.run_id is None
        assert store.spec.weights == first.spec.weights and len(store.spec.extra["adapter"]) == 64
    names = [json.loads((folder / "provenance.json").read_text())["run_id"] for folder in (run, out)]
    assert names[0] != names[1]

    old, new = (load_file(folder / "model" / "model.safetensors") for folder in (run, out))
    assert {k for k in old if k.startswith("encoder.")} == {k for k in new if k.startswith("encoder.")}
    for name in old:
        if name.startswith("encoder."):
            torch.testing.assert_close(new[name], old[name], rtol=1e-5, atol=1e-6, msg=name)
    trunks = [json.loads((f / "model" / "provenance.json").read_text()).get("trunk") for f in (run, out)]
    assert trunks[0] == trunks[1] and (trunks[0] is None) == (kind == "temporal on random weights")
    assert_same_detections(
        Detector.load(out, device="cpu").predict(world.folder / "videos" / "v06.mp4"),
        Detector.load(Detector.load(out, device="cpu").save(tmp_path / "copy"), device="cpu").predict(
            world.folder / "videos" / "v06.mp4"
        ),
    )


@pytest.mark.parametrize("kind", ["temporal and a stage", "lora"])
def test_a_successor_learns_and_has_a_successor(world: World, tmp_path: Path, kind: str) -> None:
    second, third = tmp_path / "second", tmp_path / "third"
    assert world.again(world.run(kind), second).exit_code == 0
    old, new = (load_file(f / "model" / "model.safetensors") for f in (world.run(kind), second))
    assert any(not torch.equal(old[k], new[k]) for k in old if k.startswith("encoder."))
    # what no longer learns keeps what it has learnt
    rest = ("--set", "encoder.adapter.blocks=1", "--set", "encoder.adapter.learning_stages=0")
    result = world.again(second, third, *STILL, *(rest if kind == "lora" else ()))
    assert result.exit_code == 0, result.output
    last = load_file(third / "model" / "model.safetensors")
    for name in new:
        if name.startswith("encoder."):
            torch.testing.assert_close(last[name], new[name], rtol=1e-5, atol=1e-6, msg=name)
    with (
        FeatureStore.open(second / "features.zarr") as one,
        FeatureStore.open(third / "features.zarr") as two,
    ):
        assert one.spec.extra["adapter"] != two.spec.extra["adapter"]


def test_rows_are_taken_over_where_these_adapters_made_them(world: World, tmp_path: Path) -> None:
    run = world.run("temporal")
    assert world.again(run, tmp_path / "one").exit_code == 0
    rows = tmp_path / "one" / "features.zarr"
    result = world.again(run, tmp_path / "two", "--set", f"data.store={rows}")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "two" / "features.zarr").exists() and "encoded again" not in result.stderr
    plain = world.folder / "store.zarr"
    refused = world.again(run, tmp_path / "three", "--set", f"data.store={plain}")
    assert "'adapter'" in str(refused.exception) and str(plain) in str(refused.exception)


def test_other_weights_below_the_adapters_are_refused(world: World, tmp_path: Path) -> None:
    run, weights = tmp_path / "run", world.trunk("temporal")
    shutil.copytree(world.run("temporal"), run)
    facts = json.loads((run / "model" / "provenance.json").read_text())
    moved = tmp_path / "moved.safetensors"
    facts["trunk"]["weights"] = str(moved)
    (run / "model" / "provenance.json").write_text(json.dumps(facts))
    absent = world.again(run, tmp_path / "out")
    assert facts["trunk"]["sha256"] in str(absent.exception)
    save_file({k: v + 1 if v.is_floating_point() else v for k, v in load_file(weights).items()}, moved)
    other = world.again(run, tmp_path / "out")
    assert "has sha256" in str(other.exception)
    assert not (tmp_path / "out").exists()
    shutil.copy(weights, run / "model" / "trunk.safetensors")
    result = world.again(run, tmp_path / "out")
    assert result.exit_code == 0, result.output
    beside = load_config(tmp_path / "out" / "config.yaml").encoder
    assert beside is not None and Path(str(beside.weights)).name == "trunk.safetensors"


def test_rows_of_another_attempt_are_not_taken_for_these(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert world.again(world.run("temporal"), out).exit_code == 0
    shutil.rmtree(out / "checkpoints")  # as if it had been killed before its first one
    same = world.again(world.run("temporal"), out)
    assert same.exit_code == 0 and "extracting first" not in same.stderr, same.output
    shutil.rmtree(out / "checkpoints")
    other = world.again(world.run("temporal and a stage"), out)
    assert "rows of another encoder" in str(other.exception)


def test_resume_goes_on_with_this_successor_alone(world: World, tmp_path: Path) -> None:
    run, out = world.run("temporal"), tmp_path / "out"
    assert world.again(run, out).exit_code == 0
    assert "holds a run already" in str(world.again(run, out).exception)
    assert world.again(run, out, "--resume").exit_code == 0
    other = world.again(world.run("temporal and a stage"), out, "--resume")
    assert "was begun from" in str(other.exception)
    first = world.again(run, run, "--resume")
    assert "was begun from random weights with no corrections" in str(first.exception)


def test_the_adapters_file_holds_what_was_trained(world: World, tmp_path: Path) -> None:
    run, out = world.run("temporal"), tmp_path / "again"
    assert world.again(run, out).exit_code == 0
    assert all(is_adapter(name) for name in load_file(out / "adapters.safetensors"))
    shutil.copytree(out / "model", tmp_path / "model")
    shutil.rmtree(out)
    Detector.load(tmp_path / "model", device="cpu")  # which needs the trunk alone
