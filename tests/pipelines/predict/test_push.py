"""`longtal push`: what leaves, the card, and a push that is cut."""

import json

import pytest
import yaml
from click.testing import CliRunner

from cli import cli
from pipelines.push.run import CARD, prepare_push, push
from tal import Detector
from tal.errors import CheckpointError, OutputError
from tal.inference.model_folder import FILES, read_model
from tests.hub_double import TOKEN, hub_double
from tests.tal.inference.test_detector import TREE, random_model, video  # noqa: F401

SECRET = "/home/alice/secret"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_double(monkeypatch, tmp_path) as hub:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def run(tmp_path):
    """A run whose model says all that a training says, and more."""
    tree = {
        **TREE,
        "data": {**TREE["data"], "annotations": f"{SECRET}/a.json", "store": f"{SECRET}/s.zarr"},
        "encoder": {**TREE["encoder"], "weights": f"{SECRET}/w.safetensors"},
        "train": {"precision": "fp32", "val_tiou": [0.3, 0.5], "start_from": f"{SECRET}/run"},
    }
    model = random_model(tmp_path / "run" / "model", tree)
    facts = json.loads((model / "provenance.json").read_text()) | {
        "command": ["longtal", "train", SECRET],
        "machine": "alice-laptop",
        "folder": f"{SECRET}/run",
        "versions": {"longtal": "9.8"},
        "step": 4,
        "validation_mAP": 0.25,
        "data": {"training": {"videos": 6, "segments": 31}, "validation": {"videos": 2, "segments": 7}},
        "extra": SECRET,
    }
    (model / "provenance.json").write_text(json.dumps(facts))
    (tmp_path / "run" / "validation").mkdir()
    figures = {"tiou": [0.3, 0.5], "mAP": [0.3, 0.2], "average_mAP": 0.25}
    (tmp_path / "run" / "validation" / "step_00000004.json").write_text(json.dumps(figures))
    return tmp_path / "run"


def command(*words):
    return CliRunner().invoke(cli, ["push", *map(str, words)], catch_exceptions=False)


def test_a_pushed_model_predicts_the_same_and_nothing_private_left(hub, run, video):  # noqa: F811
    told = command(run, "--to", "hf:user/gym", "--private").output
    assert "model.safetensors: " in told
    assert "provenance.json: command, extra, folder, machine stay here" in told
    _, files = hub.files("user/gym")
    assert files.keys() - {".gitattributes"} == {*FILES, CARD}
    for name, content in files.items():
        for word in (b"alice", b"secret/", b"/home"):
            assert word not in content, name
    assert "user/gym" in hub.private
    ours = Detector.from_pretrained(run, device="cpu").predict(video)
    assert len(ours) and Detector.from_pretrained("hf:user/gym", device="cpu").predict(video).equals(ours)


def test_the_card_says_what_is_known(run):
    card = prepare_push(run, "hf:user/gym", "our gym", "apache-2.0").card
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "longtal" and front["license"] == "apache-2.0"
    for text in (
        "# gym\n",
        "| `bow` | 0.200 |",
        "| `wave` |  |",
        "Data set: `our gym`.",
        "* `training`: 6 videos, 31 segments",
        "mAP 25.0%, the mean over tIoU 0.3, 0.5",
        "| 0.5 | 20.0% |",
        "Trained with longtal 9.8.",
        'Detector.from_pretrained("hf:user/gym")',
    ):
        assert text in card, text


def test_the_licence_of_the_trunk_is_the_cards(tmp_path):
    model = random_model(tmp_path / "model")
    tree = yaml.safe_load((model / "config.yaml").read_text())
    tree["encoder"] |= {"name": "videomae_b", "weights": "pretrained", "crop": 32, "clip_frames": 16}
    (model / "config.yaml").write_text(yaml.safe_dump(tree))
    facts = json.loads((model / "provenance.json").read_text())
    facts["trunk"] = {"encoder": "videomae_b", "weights": f"{SECRET}/b.safetensors", "sha256": "ab" * 32}
    (model / "provenance.json").write_text(json.dumps(facts))
    shipment = prepare_push(model, "hf:user/x")
    assert yaml.safe_load(shipment.card.split("---\n")[1])["license"] == "cc-by-nc-4.0"
    assert "`b.safetensors`" in shipment.card and "ab" * 32 in shipment.card and "not in it" in shipment.card
    assert "began with a file" not in shipment.card
    assert "CC-BY-NC-4.0" in shipment.card and "hub: MCG-NJU/videomae-base" in shipment.card
    assert "alice" not in shipment.card + str(shipment.parcel.files["provenance.json"])


def test_a_push_that_is_cut_changed_nothing_and_goes_on(hub, run):
    shipment = prepare_push(run, "hf:user/gym")
    hub.cut_after = 7000
    with pytest.raises(OutputError, match="the repository is as it was; the same command goes on"):
        push(shipment)
    assert hub.files("user/gym")[1].keys() == {".gitattributes"} and not hub.large
    with pytest.raises(CheckpointError, match="not a model of longtal"):
        read_model("hf:user/gym")
    hub.mend()
    push(shipment)
    assert read_model("hf:user/gym").labels == ("bow", "jump", "wave")
    sent, count = hub.sent, len(hub.repositories["user/gym"])
    (run / "model" / "thresholds.json").write_text("{}")
    push(prepare_push(run, "hf:user/gym"))
    assert hub.sent == sent and len(hub.repositories["user/gym"]) == count + 1  # the weights were there
    assert read_model("hf:user/gym").thresholds == {}


def test_a_card_that_was_edited_stays(hub, run):
    push(prepare_push(run, "hf:user/gym"))
    assert push(prepare_push(run, "hf:user/gym", "ours"))["notes"] == []
    files = hub.files("user/gym")[1]
    assert b"`ours`" in files[CARD]
    hub.commit("user/gym", {**files, CARD: files[CARD].replace(b"ours", b"mine")})
    assert "stays" in push(prepare_push(run, "hf:user/gym", "new"))["notes"][0]
    assert b"`mine`" in hub.files("user/gym")[1][CARD]


def test_what_stands_in_the_way_is_said(hub, run, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="may not write there"):
        push(prepare_push(run, "hf:other/gym"))
    push(prepare_push(run, "hf:user/gym"))
    with pytest.raises(OutputError, match="there already, and public"):
        push(prepare_push(run, "hf:user/gym"), private=True)
    for name in ("gym", "hf:gym", "hf:user/gym@v1"):
        with pytest.raises(CheckpointError, match="write hf:owner/name"):
            prepare_push(run, name)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(OutputError, match="may not write there"):
        push(prepare_push(run, "hf:user/gym"))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OutputError, match="hf auth login"):
        push(prepare_push(run, "hf:user/gym"))


def test_dry_run_sends_nothing(hub, run):
    count = len(hub.log)
    facts = json.loads(command(run, "--to", "hf:user/gym", "--dry-run", "--json").output)
    assert set(facts["files"]) == {*FILES, CARD} and facts["card"].startswith("---")
    assert len(hub.log) == count and not hub.repositories
