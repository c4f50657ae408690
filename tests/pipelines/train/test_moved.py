"""Projects and runs that were moved, and what a run may go on with."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from cli import cli
from pipelines.config import RunConfig, load_config, save_resolved, with_settings
from pipelines.report import collect
from pipelines.shared.config_paths import portable, with_located_paths
from pipelines.train import saved_config, train
from pipelines.train.run_log import read_log
from tal.errors import ConfigError
from tests.pipelines.tiny_run import Killed, killed_at, losses, make_data, make_store, tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "project"
    make_data(folder)
    make_store(folder)
    save_resolved(settings(folder), folder, "longtal.yaml")
    return folder


def settings(folder: Path) -> RunConfig:
    return tiny_config(folder, train={"epochs": 2, "checkpoint_every": 2, "validate_from": 0})


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "disk1" / "project")
    return tmp_path / "disk1" / "project"


def interrupted(config: RunConfig, out: Path, monkeypatch: pytest.MonkeyPatch, step: int = 4) -> None:
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(Killed):
            train(config, out)


def invoke(*words: object) -> str:
    """What a command prints."""
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_files_state_paths_relative_to_themselves(made: Path) -> None:
    tree = yaml.safe_load((made / "longtal.yaml").read_text())
    stated = {name: tree["data"][name] for name in ("annotations", "videos", "store")}
    assert stated == {"annotations": "annotations.json", "videos": "videos", "store": "store.zarr"}
    read = load_config(made / "longtal.yaml").data
    assert (read.annotations, read.videos) == (str(made / "annotations.json"), str(made / "videos"))


def test_a_run_that_moved_with_its_project_goes_on_bit_for_bit(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    train(load_config(project / "longtal.yaml"), whole)
    interrupted(load_config(project / "longtal.yaml"), project / "run", monkeypatch)
    assert yaml.safe_load((project / "run" / "config.yaml").read_text())["data"]["videos"] == "../videos"
    (tmp_path / "disk2").mkdir()
    moved = project.rename(tmp_path / "disk2" / "other name")
    invoke("train", "--resume", "--out", moved / "run")
    assert losses(moved / "run") == losses(whole)
    for name, value in load_file(whole / "model" / "model.safetensors").items():
        assert value.equal(load_file(moved / "run" / "model" / "model.safetensors")[name]), name
    report = collect(moved / "run")
    assert report.scores is not None and all(video.file is not None for video in report.videos)
    invoke("check", "--videos", moved / "videos", "--annotations", moved / "annotations.json")
    invoke("train", "--config", moved / "run" / "config.yaml", "--out", tmp_path / "again")
    assert losses(tmp_path / "again") == losses(whole)


def test_a_run_that_moved_alone_finds_what_stayed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(load_config(project / "longtal.yaml"), project / "run", monkeypatch)
    moved = (project / "run").rename(tmp_path / "alone")
    with caplog.at_level(logging.INFO, "longtal"):
        train(saved_config(moved), moved, resume=True)
    assert len(losses(moved)) == 6
    assert f"data.videos ../videos stayed where the run was: {project / 'videos'}" in caplog.text


def test_data_that_moved_is_named_at_resume_and_kept(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "deep" / "er" / "run"
    interrupted(load_config(project / "longtal.yaml"), run, monkeypatch)
    moved = project.rename(tmp_path / "elsewhere")
    assert "is not there" in " ".join(collect(run).notes)
    page = invoke("report", run, "--out", tmp_path / "page.html", "--json")
    notes = json.loads(page)["notes"]
    assert [n for n in notes if n.startswith("No ground truth: ") and "--annotations FILE" in n]
    names = {"annotations": "annotations.json", "videos": "videos", "store": "store.zarr"}
    sets = [w for k, v in names.items() for w in ("--set", f"data.{k}={moved / v}")]
    invoke("train", "--resume", "--out", run, *sets, "--set", "train.log_every=1")
    assert len(read_log(run, "step")) == 6
    assert saved_config(run).data.videos == str(moved / "videos")
    assert saved_config(run).train.log_every == 1
    assert collect(run).scores is not None


def test_what_a_run_learns_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, run = load_config(project / "longtal.yaml"), project / "run"
    interrupted(config, run, monkeypatch)
    before = (run / "config.yaml").read_text()
    with pytest.raises(ConfigError) as caught:
        invoke("train", "--resume", "--out", run, "--set", "train.epochs=9", "--set", "optim.lr=1")
    assert "optim.lr: 0.001 there, 1.0 given" in str(caught.value)
    assert "train.epochs: 2 there, 9 given" in str(caught.value)
    ours = ("--config", project / "longtal.yaml", "--out", run)
    with pytest.raises(ConfigError, match=r"train\.seed: 0 there, 3 given"):
        invoke("train", "--resume", *ours, "--set", "train.seed=3")
    with pytest.raises(ConfigError, match=r"train\.batch_size: 2 there, 3 given"):
        train(with_settings(config, ["train.batch_size=3"]), run, resume=True)
    assert (run / "config.yaml").read_text() == before
    invoke("train", "--resume", *ours)
    assert len(losses(run)) == 6


def test_annotations_that_changed_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(load_config(project / "longtal.yaml"), project / "run", monkeypatch)
    path = project / "annotations.json"
    tree = json.loads(path.read_text())
    (project / "same.json").write_text(json.dumps(tree, indent=4))
    tree["database"]["v00"]["annotations"][0]["segment"][1] += 0.5
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=r"begun with other annotations than .*annotations\.json has now"):
        invoke("train", "--resume", "--out", project / "run")
    invoke(
        "train", "--resume", "--out", project / "run", "--set", f"data.annotations={project / 'same.json'}"
    )
    assert len(losses(project / "run")) == 6


def test_paths_of_the_current_folder_still_work_and_are_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As files of version 0.1 state them."""
    monkeypatch.chdir(project.parent)
    data = {
        "annotations": "project/annotations.json",
        "videos": "project/videos",
        "store": "project/new.zarr",
    }
    (project / "old.yaml").write_text(yaml.safe_dump({"data": data, "encoder": {"clip_frames": 4}}))
    with caplog.at_level(logging.INFO, "longtal"):
        read = load_config("project/old.yaml").data
    assert {name: getattr(read, name) for name in data} == data
    assert "data.videos project/videos is not beside the file; taken from the current folder" in caplog.text


def test_where_both_are_there_the_files_own_folder_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in (tmp_path, tmp_path / "project"):
        (folder / "videos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    tree = {"data": {"videos": "videos", "store": "s.zarr"}, "encoder": {"weights": "pretrained"}}
    with caplog.at_level(logging.INFO, "longtal"):
        read = with_located_paths(tree, Path("project"), "project/longtal.yaml")
    assert read["data"] == {"videos": "project/videos", "store": "project/s.zarr"}
    assert read["encoder"] == {"weights": "pretrained"}
    assert "the one in the current folder is another" in caplog.text


def test_extends_and_settings_have_their_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "base.yaml").write_text(
        "data: {annotations: a.json, videos: v}\nencoder: {weights: w.pth}\n"
    )
    (tmp_path / "mine.yaml").write_text("extends: base/base.yaml\ndata: {videos: mine}\n")
    monkeypatch.chdir(tmp_path / "base")
    config = load_config("../mine.yaml", ["data.store=here.zarr"])
    assert config.data.annotations in ("../base/a.json", "a.json")
    assert config.data.videos == "../mine"
    assert config.data.store == "here.zarr"
    assert config.encoder is not None and config.encoder.weights in ("../base/w.pth", "w.pth")


@pytest.mark.parametrize(
    ("path", "folder", "stated"),
    [
        ("/data/p/videos", "/data/p", "videos"),
        ("/data/p/videos", "/data/p/run", "../videos"),
        ("/data/p/videos", "/data/p/runs/one", "../../videos"),
        ("/data/videos", "/data/p/runs/one", "/data/videos"),
        ("/videos", "/p", "/videos"),
        ("/data/p/run/../videos", "/data/p", "videos"),
    ],
)
def test_portable(path: str, folder: str, stated: str) -> None:
    assert portable(Path(path), Path(folder)) == stated


def test_nothing_below_home_is_one_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert portable(Path("/home/ada/videos"), Path("/home/ada/project")) == "/home/ada/videos"
    assert portable(Path("/home/ada/project/videos"), Path("/home/ada/project/run")) == "../videos"


def test_a_model_of_the_hub_is_not_a_path(tmp_path: Path) -> None:
    tree = {"train": {"start_from": "hf:me/gym@v1"}}
    assert with_located_paths(tree, tmp_path, "longtal.yaml") == tree
    tree["train"]["start_from"] = "gym.zip"
    assert with_located_paths(tree, tmp_path, "longtal.yaml") != tree
