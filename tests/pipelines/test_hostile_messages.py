"""What a command says about hostile files: one line, exit code 2, and nothing that a terminal would obey."""

import json
import sys

import numpy as np
import pytest

import cli
from benchmarks.fuzz.attacks import pickle_bomb
from benchmarks.fuzz.models import make
from pipelines.shared import console


@pytest.fixture
def said_by(monkeypatch, capsys):
    """``said_by("predict", …)``: what the command line prints on stderr, after it ended with code 2."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["longtal", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        text = capsys.readouterr().err
        assert ended.value.code == 2, text
        assert text.count("\n") == 1 and text[:-1].isprintable(), text
        return text

    return run


def test_predict_with_a_model_of_a_hostile_class(tmp_path, said_by):
    make(tmp_path)
    (tmp_path / "model" / "labels.json").write_text(json.dumps(["\x1b[2J\n", "\x1b[2J\n"]))
    words = ("--model", tmp_path / "model", "--from-store", tmp_path / "s.zarr", "--out", tmp_path / "out")
    assert "is there twice" in said_by("predict", *words)


def test_store_info_of_a_hostile_store(tmp_path, said_by):
    make(tmp_path)
    commit = tmp_path / "s.zarr" / "commit.json"
    commit.write_text(json.dumps(json.loads(commit.read_text()) | {"\x1b]0;mine\a\nerror": 1}))
    assert "unexpected keyword" in said_by("store", "info", tmp_path / "s.zarr")


def test_a_configuration_with_a_hostile_key(tmp_path, said_by):
    (tmp_path / "a.yaml").write_text('train: {"\\x1b[31m\\n": 1}\n')
    assert "unknown key" in said_by("train", "--config", tmp_path / "a.yaml", "--out", tmp_path / "run")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pt"])
def test_import_of_a_pickle(tmp_path, said_by, name):
    features = tmp_path / "features"
    features.mkdir()
    (features / name).write_bytes(pickle_bomb(tmp_path / "ran"))
    words = (
        "--features",
        features,
        "--store",
        tmp_path / "s.zarr",
        "--layout",
        "tc",
        "--fps",
        8,
        "--stride",
        4,
    )
    assert name in said_by("store", "import", *words)
    assert not (tmp_path / "ran").exists()


def test_a_log_line_holds_no_escape_sequence(capsys):
    console.set_quiet(False)
    console.log.warning("%s is left out", "\x1b[2Jvideo")
    assert "\x1b" not in capsys.readouterr().err


def test_convert_of_a_pickle(tmp_path, said_by):
    (tmp_path / "a.pth").write_bytes(pickle_bomb(tmp_path / "ran"))
    assert "plain weights" in said_by(
        "convert", tmp_path / "a.pth", "--from", "tridet", "--out", tmp_path / "m"
    )
    assert not (tmp_path / "ran").exists()


def test_evaluate_of_predictions_that_are_none(tmp_path, said_by):
    (tmp_path / "p.json").write_text("[" * 100_000)
    (tmp_path / "a.json").write_text('{"database": {}}')
    words = ("--annotations", tmp_path / "a.json", "-p", tmp_path / "p.json")
    assert "json" in said_by("evaluate", *words)


def test_a_file_of_features_of_complex_numbers(tmp_path, said_by):
    """Their imaginary part was dropped without a word."""
    import torch

    features = tmp_path / "features"
    features.mkdir()
    torch.save(torch.from_numpy(np.ones((6, 4), np.complex64)), features / "a.pt")
    words = (
        "--features",
        features,
        "--store",
        tmp_path / "s.zarr",
        "--layout",
        "tc",
        "--fps",
        8,
        "--stride",
        4,
    )
    assert "complex64" in said_by("store", "import", *words)
