"""`longtal convert`: published checkpoints become model folders that detect the same."""

import json

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from benchmarks.golden import FOLDER
from benchmarks.golden.reference import Reference
from cli import cli
from pipelines.convert.run import convert
from tal.errors import CheckpointError, ConfigError
from tal.grid import FeatureGrid
from tal.inference.localize import localize
from tal.inference.resized import resize_rows

FILES = {"af": "actionformer", "tmax": "temporalmaxer", "tridet": "tridet", "cltdr": "cltdr"}


def golden(name):
    reference = Reference.read(FOLDER / f"{name}.safetensors")
    return reference.tensors, reference.config


def released(tensors):
    return {
        key.removeprefix("weights/"): value for key, value in tensors.items() if key.startswith("weights/")
    }


def released_yaml(config, path):
    """The file that such a model would have been trained with."""
    model = dict(config["model"])
    dataset = {key: model.pop(key) for key in ("input_dim", "num_classes", "max_seq_len")}
    dataset |= {"feat_stride": 4, "num_frames": 16, "default_fps": 30}
    tree = {
        "dataset": dataset,
        "train_cfg": model.pop("train_cfg"),
        "test_cfg": model.pop("test_cfg"),
        "model": model,
    }
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_detects_what_the_release_detects(tmp_path, name):
    from tal.inference.detector import Detector

    tensors, config = golden(name)
    checkpoint = tmp_path / "epoch_040.pth.tar"
    weights = {f"module.{key}": value for key, value in released(tensors).items()}
    wrong = {key: torch.zeros_like(value) for key, value in weights.items()}
    torch.save({"epoch": 40, "state_dict": wrong, "state_dict_ema": weights}, checkpoint)
    source = released_yaml(config, tmp_path / "config.yaml")
    made = convert(checkpoint, FILES[name], tmp_path / "model", source)
    assert made.assumed == () and made.classes == 5 and made.channels == 48

    detector = Detector.load(made.folder, device="cpu")
    video = config["video"][0]
    grid = FeatureGrid(video["fps"], video["feat_stride"], video["feat_num_frames"])
    rows = tensors["in/0/feats"].t().numpy()
    found = localize(detector.localizer, rows, grid, detector.config.windows, video["duration"])
    best = tensors["out/0/final/scores"]
    assert len(found) == len(best)
    assert found["score"].tolist() == pytest.approx(best.tolist(), abs=1e-4)
    assert found["start_s"].iloc[0] == pytest.approx(float(tensors["out/0/final/segments"][0, 0]), abs=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_shapes_tell_the_configuration(tmp_path, name):
    """Without the YAML file the same weights are found a place for; what was assumed is said."""
    tensors, _ = golden(name)
    torch.save(released(tensors), tmp_path / "weights.pth")
    made = convert(tmp_path / "weights.pth", FILES[name], tmp_path / "model")
    count = sum(v.numel() for k, v in released(tensors).items() if "refineHead.scale" not in k)
    assert made.parameters == count
    assert any("2304" in item for item in made.assumed)


def test_command(tmp_path):
    tensors, config = golden("tmax")
    torch.save({"state_dict": released(tensors)}, tmp_path / "c.pth")
    (tmp_path / "names.txt").write_text("run\njump\nsit\nstand\nlie\n")
    source = released_yaml(config, tmp_path / "config.yaml")
    arguments = ["convert", str(tmp_path / "c.pth"), "--from", "temporalmaxer", "--config", str(source)]
    arguments += ["--labels", str(tmp_path / "names.txt"), "--out", str(tmp_path / "model"), "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert json.loads(result.stdout)["decoder"] == "temporalmaxer"
    assert json.loads((tmp_path / "model/labels.json").read_text())[1] == "jump"
    assert json.loads((tmp_path / "model/provenance.json").read_text())["features"] == {
        "channels": 48,
        "frame_stride": 4,
        "window_frames": 16,
    }


def test_videos_of_one_length_and_outside_scores_are_read_or_said(tmp_path):
    """``force_upsampling``: detections in the video's times, from as many rows as the model learnt."""
    from tal.inference.detector import Detector

    tensors, config = golden("af")
    torch.save(released(tensors), tmp_path / "c.pth")
    source = released_yaml(config, tmp_path / "config.yaml")
    tree = yaml.safe_load(source.read_text())
    tree["dataset"]["force_upsampling"] = True
    tree["test_cfg"]["ext_score_file"] = "scores.json"
    source.write_text(yaml.safe_dump(tree))
    made = convert(tmp_path / "c.pth", "actionformer", tmp_path / "model", source)
    (said,) = made.assumed
    assert "scores.json is not read" in said
    windows = Detector.load(made.folder, device="cpu").config.windows
    assert windows.resize_rows == 128
    path = made.folder / "config.yaml"
    text = path.read_text()
    for weight, row_loss, told in ((0.5, 0.0, "without a row classifier"), (0.5, 1.0, "goes not with")):
        tree = yaml.safe_load(text)
        tree["inference"]["row_weight"], tree["localizer"]["row_loss"] = weight, row_loss
        if row_loss == 0:
            tree["inference"]["resize_rows"] = 0
        path.write_text(yaml.safe_dump(tree))
        with pytest.raises(CheckpointError, match=told):
            Detector.load(made.folder, device="cpu")
    path.write_text(text)
    detector = Detector.load(made.folder, device="cpu")
    rows, grid = tensors["in/0/feats"].t().numpy(), FeatureGrid(30.0, 4, 16)
    found = localize(detector.localizer, rows, grid, windows, 20.0)
    by_hand, placed = resize_rows(rows, grid, 128)
    plain = windows.model_copy(update={"resize_rows": 0})
    expected = localize(detector.localizer, by_hand, placed, plain, 20.0)
    assert len(found) and found.equals(expected)
    with pytest.raises(ConfigError, match="no rows may be missing"):
        localize(detector.localizer, rows, grid, windows, 20.0, np.arange(len(rows)) > 3)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_what_is_wrong_is_said(tmp_path):
    tensors, config = golden("tridet")
    weights = released(tensors)
    good = tmp_path / "good.pth"
    torch.save(weights, good)

    def refused(error, message, path=good, system="tridet", **options):
        with pytest.raises(error, match=message):
            convert(path, system, tmp_path / "model", **options)
        assert not (tmp_path / "model").exists()

    refused(CheckpointError, "no checkpoint at", tmp_path / "absent.pth")
    refused(CheckpointError, "is not a checkpoint of cltdr|not a parameter of cltdr|no place", system="cltdr")
    torch.save({"state_dict": {}}, tmp_path / "empty.pth")
    refused(CheckpointError, "holds no weights", tmp_path / "empty.pth")
    (tmp_path / "noise.pth").write_bytes(b"no checkpoint at all")
    refused(CheckpointError, "cannot be read", tmp_path / "noise.pth")
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    refused(CheckpointError, "cannot be read", tmp_path / "evil.pth")
    torch.save({k: v for k, v in weights.items() if "psi" not in k}, tmp_path / "part.pth")
    refused(CheckpointError, "lacks .* parameters of tridet", tmp_path / "part.pth")
    wide = {**config, "model": {**config["model"], "embd_dim": 128, "fpn_dim": 128}}
    refused(CheckpointError, "needs", config=released_yaml(wide, tmp_path / "wide.yaml"))
    (tmp_path / "other.yaml").write_text("a: 1\n")
    refused(CheckpointError, "not a configuration of a released", config=tmp_path / "other.yaml")
    odd = {**config, "model": {**config["model"], "use_magic": True}}
    refused(CheckpointError, "model.use_magic", config=released_yaml(odd, tmp_path / "odd.yaml"))
    own_rate = released_yaml(config, tmp_path / "rate.yaml")
    own_rate.write_text(own_rate.read_text().replace("feat_stride: 4", "feat_stride: -1"))
    refused(CheckpointError, "feat_stride -1: features of which each file", config=own_rate)
    refused(ConfigError, "class names", labels=["one"])
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        convert(good, "tridet", tmp_path / "model")
