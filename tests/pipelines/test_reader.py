"""The reader that a user names is the one that reads, in every command; `auto` is PyAV."""

import ast
import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from cli import cli
from featstore import FeatureStore, StoreSpecError
from pipelines.config import save_resolved
from pipelines.data.prepare import PrepareConfig
from pipelines.init import InitOptions
from pipelines.predict.overlay import write_overlay
from tal.encoders import feature_spec
from tal.errors import LongtalError
from tal.video import open_video
from tal.video.pool import DecodeTask
from tal.video.pyav_decoder import PyavDecoder
from tests.pipelines.tiny_run import make_data, tiny_config
from tests.tal.video.video_corpus import Make, make_video

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("one_thread")


class Stub:
    """Stands for decord: counts files opened and decoded with it, and lets no file be opened otherwise."""

    def __init__(self, monkeypatch):
        self.opened = self.decoded = 0
        monkeypatch.setattr("tal.video.decord_decoder.why_missing", lambda: "")
        monkeypatch.setattr("tal.video.reader.require_reader", self.name)
        monkeypatch.setattr("tal.video.reader._why_not", self.open)
        monkeypatch.setattr("tal.video.decord_decoder.open_decoder", self.decode)
        monkeypatch.setattr("tal.video.reader.PyavDecoder", self.refuse)

    def name(self, reader):
        assert reader == "decord"
        return reader

    def open(self, name, index):
        self.opened += 1
        return ""

    def decode(self, index, threads):
        self.decoded += 1
        return PyavDecoder(index, threads)

    def refuse(self, index, threads):
        raise AssertionError(f"{index.path} was decoded with PyAV")


def run(*words):
    """A command's standard output; it must end well."""
    done = CliRunner().invoke(cli, ["-q", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words):
    """The message of a command that is refused, in one line."""
    done = CliRunner().invoke(cli, ["-q", *map(str, words)])
    assert isinstance(done.exception, LongtalError), done.output
    return str(done.exception)


@pytest.fixture
def data(tmp_path):
    make_data(tmp_path, train=3, validation=1)
    return tmp_path


def write_config(data, **sections):
    """A run's YAML; its epochs are one of training and one of the localizer alone, then a validation."""
    memory = {"finetune_localizer_epochs": 1, "ratio": 0.25} | sections.pop("memory", {})
    config = tiny_config(data, memory=memory, train={"batch_size": 1, "validate_from": 0}, **sections)
    return save_resolved(config, data, "run.yaml")


def test_every_command_reads_with_the_reader_named(data, monkeypatch):
    stub = Stub(monkeypatch)
    videos, annotations = data / "videos", data / "annotations.json"
    named = ["--videos", videos, "--annotations", annotations, "--reader", "decord"]
    config, new = write_config(data), videos / "v03.mp4"
    decord = ["--config", config, "--set", "data.reader=decord"]
    commands = {
        "check": ["check", *named],
        "init": ["init", *named, "--out", data / "project", "--encoder", "timm:test_efficientnet"],
        "prepare": ["prepare", *named, "--out", data / "small", "--size", 40],
        "extract": ["extract", "--config", config, "--reader", "decord", "--workers", 0, "--device", "cpu"],
        "train": ["train", *decord, "--out", data / "run"],
        "train without a store": [
            *["train", *decord, "--out", data / "fresh", "--set", "data.store=", "--set", "memory.ratio=1.0"],
            *["--set", "memory.baseline=fresh_only", "--set", "memory.finetune_localizer_epochs=0"],
        ],
        "predict": ["predict", new, "--model", data / "run", "--out", data / "found"],
        "predict --overlay": [
            *["predict", new, "--model", data / "run", "--reader", "decord", "--out", data / "found"],
            *["--overlay", data / "seen.mp4"],
        ],
    }
    for name, words in commands.items():
        stub.opened = stub.decoded = 0
        run(*words)
        assert stub.opened, name
        assert stub.decoded or name == "check", name
    assert yaml.safe_load((data / "project" / "longtal.yaml").read_text())["data"]["reader"] == "decord"
    assert json.loads((data / "small" / "prepare.json").read_text())["reader"] == "decord"
    for path in (data / "store.zarr", data / "run" / "memory.zarr"):
        with FeatureStore.open(path) as store:
            assert store.spec.reader == "decord"
    facts = json.loads((data / "run" / "model" / "provenance.json").read_text())
    assert facts["reader"] == facts["features"]["reader"] == "decord"


@pytest.mark.parametrize(
    "function", [open_video, DecodeTask, feature_spec, write_overlay, PrepareConfig, InitOptions]
)
def test_no_call_leaves_the_reader_to_a_default(function):
    """Defaults are for who uses these from Python; commands and loaders pass what was named."""
    place = list(inspect.signature(function).parameters).index("reader")
    calls = [
        (path, node)
        for package in ("tal", "pipelines")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function.__name__
    ]
    assert calls
    silent = [
        f"{path}:{node.lineno}"
        for path, node in calls
        if len(node.args) <= place and "reader" not in [keyword.arg for keyword in node.keywords]
    ]
    assert silent == []


def test_rows_and_models_of_another_reader_are_refused(data, monkeypatch):
    config = write_config(data)
    run("extract", "--config", config, "--workers", 0)
    run("train", "--config", config, "--set", "data.reader=pyav", "--out", data / "run")  # as auto
    Stub(monkeypatch)
    other = ["--set", "data.reader=decord"]
    message = refused("extract", "--config", config, "--reader", "decord")
    assert "reader: 'pyav' in the store, 'decord' needed" in message
    message = refused("train", "--config", config, *other, "--out", data / "other")
    assert "reader: 'pyav' in the store, 'decord' needed" in message
    message = refused(
        "predict", data / "videos", "--model", data / "run", "--out", data / "found", "--reader", "decord"
    )
    assert "was trained on what pyav reads" in message and "--set data.reader=decord" in message
    decord_store = ["--set", f"data.store={data / 'decord.zarr'}"]
    run("extract", "--config", config, *other, *decord_store, "--workers", 0)
    words = [
        "predict",
        "--from-store",
        data / "decord.zarr",
        "--model",
        data / "run",
        "--out",
        data / "found",
    ]
    with pytest.raises(StoreSpecError, match="reader: 'decord' in the store, 'pyav' needed"):
        CliRunner().invoke(cli, ["-q", *map(str, words)], catch_exceptions=False)


def test_a_run_with_torchcodec_from_start_to_end(data):
    """Nothing stands for it here: it decodes in a worker process, in the loader and for `predict`."""
    pytest.importorskip("torchcodec")
    config = write_config(data)
    named = ["--config", config, "--set", "data.reader=torchcodec"]
    run("check", "--videos", data / "videos", "--reader", "torchcodec")
    run("extract", *named, "--workers", 1)
    run("train", *named, "--out", data / "run")
    run("predict", data / "videos", "--model", data / "run", "--out", data / "found")
    with FeatureStore.open(data / "store.zarr") as store:
        assert store.spec.reader == "torchcodec" and len(store.video_ids) == 4
    facts = json.loads((data / "run" / "model" / "provenance.json").read_text())
    assert facts["reader"] == "torchcodec" and facts["versions"]["torchcodec"]
    message = refused("train", "--config", config, "--out", data / "other")
    assert "reader: 'torchcodec' in the store, 'pyav' needed" in message


def test_where_decord_is_not_installed_naming_it_ends_the_command(data, monkeypatch):
    monkeypatch.setattr("tal.video.decord_decoder.find_spec", lambda name: None)
    named = ["--videos", data / "videos", "--annotations", data / "annotations.json", "--reader", "decord"]
    config = write_config(data)
    for words in (
        ["check", *named],
        ["init", *named, "--out", data / "project"],
        ["prepare", *named, "--out", data / "small"],
        ["extract", *named, "--store", data / "store.zarr"],
        ["train", "--config", config, "--set", "data.reader=decord", "--out", data / "run"],
    ):
        assert "decord is not installed here" in refused(*words), words
    for name in ("small", "store.zarr", "run"):
        assert not list((data / name).glob("*")), name


def test_a_video_that_decord_gets_wrong_fails_in_extraction(tmp_path):
    pytest.importorskip("decord")
    (tmp_path / "videos").mkdir()
    x264 = {"preset": "ultrafast", "bf": "0"}
    make_video(Make("steady", "libx264", options=x264), tmp_path / "videos")
    make_video(Make("varying", "libx264", gaps=(4, 9, 2), options=x264), tmp_path / "videos")
    flags = ["--videos", tmp_path / "videos", "--store", tmp_path / "s.zarr", "--weights", "random"]
    flags += ["--encoder", "timm:test_efficientnet", "--size", 40, "--crop", 32]
    command = ["-q", "extract", *flags, "--workers", "1", "--reader", "decord"]
    assert CliRunner().invoke(cli, list(map(str, command))).exit_code == 1
    with FeatureStore.open(tmp_path / "s.zarr") as store:
        assert store.video_ids == ["steady"] and np.isfinite(store.read("steady", 0, 4)).all()
        reason = store.video("varying").reason
    assert "varying.mp4: cannot be read with decord: its rate varies; use --reader pyav" in reason
    found = CliRunner().invoke(
        cli, ["-q", "check", "--videos", str(tmp_path / "videos"), "--reader", "decord", "--json"]
    )
    assert [p["video"] for p in json.loads(found.stdout)["problems"]] == ["varying"]
    # the way out that the reason names
    run(
        "prepare",
        "--videos",
        tmp_path / "videos",
        "--out",
        tmp_path / "even",
        "--reader",
        "pyav",
        "--size",
        40,
    )
    run("check", "--videos", tmp_path / "even", "--reader", "decord")
