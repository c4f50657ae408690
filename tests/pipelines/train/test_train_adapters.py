"""Training adapters through the memory: what files hold, what resume needs, what prediction finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from featstore import FeatureStore
from pipelines.config import RunConfig, load_config
from pipelines.shared.run_folder import validation_predictions
from pipelines.train import train
from pipelines.train.optim import parameter_groups
from pipelines.train.setup import build_network
from tal import Detector
from tal.annotations import read_predictions
from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.base import is_adapter
from tal.errors import CheckpointError
from tal.shared.weights import contiguous
from tests.pipelines.tiny_run import ENCODER, Killed, assert_same_detections, killed_at, losses, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "timm:test_vit"  # it has attention, for lora


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the weights that the store's rows were made with."""
    path = tmp_path_factory.mktemp("weights") / "trunk.safetensors"
    save_file(contiguous(build_encoder(EncoderConfig(**ENCODER)).model.state_dict()), path)
    return path


def adapting(data: Path, weights: Path | None, **adapter: object) -> RunConfig:
    encoder = {"weights": str(weights) if weights else None, "adapter": {"kind": "temporal", **adapter}}
    return tiny_config(
        data,
        encoder=encoder,
        memory={"ratio": 0.5},
        train={"epochs": 2, "checkpoint_every": 2, "ema_decay": 0.9, "validate_from": 0},
        optim={"lr": 1e-2},
    )


@pytest.fixture(scope="module")
def run(data: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "run"
    train(adapting(data, weights), out)
    return out


def test_rows_of_the_plain_encoder_are_those_of_step_0(run: Path, data: Path) -> None:
    """The store was made without adapters; training took it, and wrote rows of adapters that learnt."""
    with FeatureStore.open(data / "store.zarr") as before, FeatureStore.open(run / "memory.zarr") as after:
        assert before.spec == after.spec
        rows = [s.read(v, 0, s.video(v).num_rows) for s in (before, after) for v in before.video_ids]
        half = len(rows) // 2
        assert any((a != b).any() for a, b in zip(rows[:half], rows[half:], strict=True))


def test_files_hold_what_was_trained_and_name_the_rest(run: Path, weights: Path) -> None:
    trunk = build_encoder(EncoderConfig(**{**ENCODER, "weights": str(weights)}))
    files = [run / "model" / "model.safetensors", *run.glob("checkpoints/*/*.safetensors")]
    assert len(files) == 1 + 2 * 2
    for file in files:
        names = [n.removeprefix("encoder.") for n in load_file(file) if n.startswith("encoder.")]
        assert names and all(is_adapter(n) for n in names)
    facts = json.loads((run / "model" / "provenance.json").read_text())
    assert facts["trunk"] == {
        "encoder": trunk.name,
        "weights": str(weights.resolve()),
        "sha256": trunk.weights_sha256,
    }
    assert len(facts["adapter"]) == 64


def test_the_model_predicts_what_validation_found(run: Path, data: Path, tmp_path: Path) -> None:
    detector = Detector.load(run, device="cpu")
    step = json.loads((run / "model" / "provenance.json").read_text())["step"]
    expected = read_predictions(validation_predictions(run, step))
    for video in ("v06", "v07"):
        found = detector.predict(data / "videos" / f"{video}.mp4")
        assert_same_detections(found, expected[expected["video_id"] == video].reset_index(drop=True))
    again = Detector.load(detector.save(tmp_path / "copy"), device="cpu")
    assert_same_detections(
        again.predict(data / "videos" / "v06.mp4"), detector.predict(data / "videos" / "v06.mp4")
    )


def test_without_the_trunk_prediction_says_what_to_bring(run: Path, weights: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(run / "model", model)
    facts = json.loads((model / "provenance.json").read_text())
    facts["trunk"]["weights"] = str(tmp_path / "gone.safetensors")
    (model / "provenance.json").write_text(json.dumps(facts))
    missing = rf"(?s)sha256 {facts['trunk']['sha256']}\): bring them .*no such weights"
    with pytest.raises(CheckpointError, match=missing):
        Detector.load(model, device="cpu")
    shutil.copy(weights, model / "trunk.safetensors")
    Detector.load(model, device="cpu")
    other = {k: v + 1 if v.is_floating_point() else v for k, v in load_file(weights).items()}
    save_file(other, model / "trunk.safetensors")
    with pytest.raises(CheckpointError, match=r"trunk\.safetensors has sha256"):
        Detector.load(model, device="cpu")


def test_a_killed_run_goes_on_bit_for_bit(
    run: Path, data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = adapting(data, weights), tmp_path / "run"
    with monkeypatch.context() as patch:
        killed_at(patch, 4)
        with pytest.raises(Killed):
            train(config, out)
    train(config, out, resume=True)
    assert losses(out) == losses(run)
    for name, value in load_file(run / "model" / "model.safetensors").items():
        assert torch.equal(value, load_file(out / "model" / "model.safetensors")[name]), name
    with FeatureStore.open(run / "memory.zarr") as one, FeatureStore.open(out / "memory.zarr") as two:
        for video in one.video_ids:
            count = one.video(video).num_rows
            np.testing.assert_array_equal(one.read(video, 0, count), two.read(video, 0, count))


def test_other_weights_at_resume_are_refused(run: Path, data: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    state = sorted(out.glob("checkpoints/*/state.json"))[-1]
    tree = json.loads(state.read_text())
    assert tree["trunk"]
    state.write_text(json.dumps({**tree, "trunk": "0" * 64}))
    with pytest.raises(CheckpointError, match=r"sha256 0{64}; those of encoder\.weights have"):
        train(adapting(data, weights), out, resume=True)


def test_random_weights_cannot_be_named_so_the_model_holds_them(data: Path, tmp_path: Path) -> None:
    train(adapting(data, None), tmp_path / "run")
    names = [
        n for n in load_file(tmp_path / "run" / "model" / "model.safetensors") if n.startswith("encoder.")
    ]
    assert [n for n in names if not is_adapter(n.removeprefix("encoder."))]
    Detector.load(tmp_path / "run", device="cpu")


def test_learning_rates_by_part(data: Path, weights: Path) -> None:
    config = adapting(data, weights, lr_multiplier=2.0, learning_stages=1)
    assert config.encoder is not None
    encoder = build_encoder(config.encoder)
    network = build_network(config, 2, encoder.channels, encoder)
    groups = parameter_groups(network, config.optim, config.adapter_lr_multiplier)
    rates = {group["name"].removesuffix(", no decay"): group["base_lr"] for group in groups}
    assert rates == pytest.approx({"localizer": 1e-2, "encoder": 1e-3, "adapters": 2e-2})
    count = sum(len(group["params"]) for group in groups)
    assert count == sum(p.requires_grad for p in network.parameters())


def test_low_rank_parts_are_in_the_models_weights(data: Path, tmp_path: Path) -> None:
    """lora is merged at export: the model has plain weights, of which only the changed ones are stored."""
    small = {"name": NAME, "temporal_shift": False}
    trunk = build_encoder(EncoderConfig(**{**ENCODER, **small}))
    save_file(contiguous(trunk.model.state_dict()), tmp_path / "vit.safetensors")
    encoder = {**small, "weights": str(tmp_path / "vit.safetensors"), "adapter": {"kind": "lora"}}
    config = tiny_config(
        data,
        data={"store": ""},
        encoder=encoder,
        memory={"ratio": 1.0, "baseline": "none"},
        train={"epochs": 1, "validate_from": 0},
    )
    train(config, tmp_path / "run")
    names = [
        n for n in load_file(tmp_path / "run" / "model" / "model.safetensors") if n.startswith("encoder.")
    ]
    assert names and all(".attn." in n and n.endswith(".weight") for n in names)
    assert load_config(tmp_path / "run" / "model" / "config.yaml").encoder.adapter is None
    detector = Detector.load(tmp_path / "run", device="cpu")
    step = json.loads((tmp_path / "run" / "model" / "provenance.json").read_text())["step"]
    expected = read_predictions(validation_predictions(tmp_path / "run", step))
    found = detector.predict(data / "videos" / "v06.mp4")
    assert_same_detections(found, expected[expected["video_id"] == "v06"].reset_index(drop=True))
