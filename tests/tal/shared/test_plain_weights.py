"""Files of weights that are something else: one line, no code, no waiting."""

import os
import zipfile

import pytest
import torch

from benchmarks.fuzz.attacks import pickle_bomb
from tal.errors import WeightsError
from tal.shared.archives import refuse_bombs
from tal.shared.weights import load_plain


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.pth.tar"])
def test_a_pipe_keeps_nobody_waiting(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsError, match="no such weights file"):
        load_plain(tmp_path / name)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.bin"])
def test_a_pickle_is_not_run(tmp_path, name):
    (tmp_path / name).write_bytes(pickle_bomb(tmp_path / "ran"))
    with pytest.raises(WeightsError, match="plain weights"):
        load_plain(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_an_archive_of_nothing_but_zeros_is_refused_when_it_is_large(tmp_path):
    for size, refused in ((1 << 20, False), (100 << 20, True)):
        path = tmp_path / f"{size}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(size))
        with zipfile.ZipFile(path) as archive:
            if refused:
                with pytest.raises(zipfile.BadZipFile, match="promise 104857600 bytes"):
                    refuse_bombs(archive)
            else:
                refuse_bombs(archive)


def test_what_torch_writes_is_read(tmp_path):
    value = {"a": torch.arange(4), "b": {"c": 1.5}}
    torch.save(value, tmp_path / "a.pt")
    read = load_plain(tmp_path / "a.pt")
    assert read["b"] == value["b"] and torch.equal(read["a"], value["a"])
