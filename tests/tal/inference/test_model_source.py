"""What a user may call a model: a zip and a repository of the hub, whole or not at all, hostile or not."""

import shutil
import stat
import zipfile

import pytest

from tal import Detector
from tal.errors import CheckpointError
from tal.inference.model_folder import FILES, find_model, read_model
from tests.hub_double import TOKEN, hub_double
from tests.tal.inference.test_detector import random_model


@pytest.fixture
def model(tmp_path):
    return random_model(tmp_path / "model")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "longtal" / "models"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_double(monkeypatch, tmp_path) as hub:
        yield hub


def pack(path, model, top="", more=()):
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            archive.write(model / name, top + name)
        for name, data in more:
            archive.writestr(name, data)
    return path


def published(hub, model, name="user/name", leave=()):
    return hub.commit(name, {file: (model / file).read_bytes() for file in FILES if file not in leave})


@pytest.mark.parametrize("top", ["", "model/"])
def test_a_zip_is_a_model(tmp_path, model, cache, top):
    path = pack(tmp_path / "m.zip", model, top, [(f"{top}README.md", "text"), ("__MACOSX/x/labels.json", "")])
    folder = read_model(path)
    assert folder.fingerprint() == read_model(model).fingerprint() and folder.source == str(path)
    assert sorted(p.name for p in folder.path.iterdir()) == sorted(FILES)
    assert folder.path.parent == cache
    (tmp_path / "link.zip").symlink_to(path)
    assert find_model(tmp_path / "link.zip") == folder.path
    assert find_model(path) == folder.path  # the second time as it stands there
    assert Detector.from_pretrained(path, device="cpu").labels == ("bow", "jump", "wave")


def test_hostile_zips_are_refused_and_leave_nothing(tmp_path, model, cache):
    def refused(path, word):
        with pytest.raises(CheckpointError, match=word):
            find_model(path)
        assert not cache.exists() or not list(cache.iterdir())

    out = pack(tmp_path / "up.zip", model, "../")
    find_model(out)  # its names are not used
    assert not (tmp_path / "cache" / "labels.json").exists()
    shutil.rmtree(cache)
    refused(pack(tmp_path / "two.zip", model, "a/", [("b/model.safetensors", "")]), "2 models")
    refused(pack(tmp_path / "deep.zip", model, "a/b/"), "no model.safetensors")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = pack(tmp_path / "twice.zip", model, "", [("labels.json", "[]")])
    refused(twice, "labels.json is there twice")
    link = zipfile.ZipInfo("trunk.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(pack(tmp_path / "link.zip", model, "", [(link, "/etc/passwd")]), "not a regular file")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", bytes(80 << 20))
    refused(tmp_path / "bomb.zip", "promise")
    whole = pack(tmp_path / "cut.zip", model).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.zip", "cannot be unpacked")
    flipped = bytearray(whole)
    flipped[whole.index(b"model.safetensors") + 2000] ^= 255
    (tmp_path / "flip.zip").write_bytes(flipped)
    refused(tmp_path / "flip.zip", "CRC")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(model / "model.safetensors", "model.safetensors")
    refused(tmp_path / "some.zip", r"lacks config\.yaml")


def test_a_repository_is_a_model_and_is_fetched_once(hub, model, cache):
    commit = published(hub, model)
    folder = read_model("hf:user/name")
    assert folder.fingerprint() == read_model(model).fingerprint()
    assert folder.path == cache / "hub" / "user--name" / commit
    assert sorted(p.name for p in folder.path.iterdir()) == sorted(FILES)
    assert not any(p.is_symlink() for p in folder.path.iterdir())
    hub.log.clear()
    assert find_model(f"hf:user/name@{commit}") == folder.path and not hub.log
    assert find_model("hf:user/name") == folder.path and hub.log == [("info", "user/name")]
    (model / "thresholds.json").write_text("{}")
    assert find_model("hf:user/name@main") == folder.path
    published(hub, model)
    assert read_model("hf:user/name").thresholds == {}
    assert read_model(f"hf:user/name@{commit}").thresholds


def test_only_files_of_a_model_are_fetched(hub, model):
    files = {file: (model / file).read_bytes() for file in FILES}
    hub.commit("user/name", {**files, "modeling.py": b"import os", "pytorch_model.bin": b"x", "a/b": b""})
    assert sorted(p.name for p in find_model("hf:user/name").iterdir()) == sorted(FILES)
    fetched = {entry[1] for entry in hub.log if entry[0] == "get"}
    assert fetched == set(FILES)


def test_a_wire_that_is_cut_once_is_gone_on_with_in_the_same_call(hub, model):
    published(hub, model)
    hub.cut_after, hub.stays_cut = 5000, False
    assert read_model("hf:user/name").fingerprint() == read_model(model).fingerprint()
    assert ("from", "model.safetensors", 5000) in hub.log


def test_a_fetch_that_is_cut_goes_on_and_nothing_half_is_a_model(hub, model, cache):
    commit = published(hub, model)
    hub.cut_after = 5000
    with pytest.raises(CheckpointError, match="the same command goes on"):
        find_model("hf:user/name")
    place = cache / "hub" / "user--name"
    assert not (place / commit).exists() and (place / f"{commit}.part").is_dir()
    with pytest.raises(CheckpointError):  # nor does the half folder pass under its own name
        find_model(place / f"{commit}.part")
    hub.mend()
    hub.log.clear()
    assert read_model("hf:user/name").fingerprint() == read_model(model).fingerprint()
    fetched = {entry[1] for entry in hub.log if entry[0] == "get"}
    assert fetched == {"model.safetensors", "labels.json", "thresholds.json", "provenance.json"}
    assert not (place / f"{commit}.part").exists()


def test_what_the_hub_does_not_have_or_does_not_answer(hub, model, caplog, monkeypatch):
    with pytest.raises(CheckpointError, match="no such repository"):
        find_model("hf:user/other")
    commit = published(hub, model)
    with pytest.raises(CheckpointError, match="no such revision"):
        find_model("hf:user/name@v9")
    published(hub, model, "user/part", leave=("labels.json",))
    with pytest.raises(CheckpointError, match=r"not a model of longtal: it lacks labels\.json"):
        find_model("hf:user/part")
    hub.private.add("user/name")
    with pytest.raises(CheckpointError, match="needs a token"):
        find_model("hf:user/name")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find_model("hf:user/name").name == commit
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"does not answer .*, and no copy is here: fetch it elsewhere"):
        find_model("hf:user/part")
    caplog.clear()
    assert find_model("hf:user/name").name == commit
    assert "does not answer" in caplog.text and commit in caplog.text


@pytest.mark.parametrize("name", ["hf:", "hf:name", "hf:../x", "hf:a/..", "hf:/etc/x", "hf:a/b/c", "hf:a/b@"])
def test_names_that_are_no_repository(name):
    with pytest.raises(CheckpointError, match=r"write hf:owner/name\[@revision\]"):
        find_model(name)
