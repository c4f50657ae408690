"""Pushed stores: only what changed is sent, a half push is no store, and nothing is believed unseen."""

import json
import os
import re
import shutil

import fsspec
import numpy as np
import pytest
from numcodecs import Blosc

from featstore import (
    FeatureStore,
    StoreExistsError,
    StoreFormatError,
    StoreLockedError,
    StoreNotFoundError,
    StoreSpecError,
    StoreTransferError,
    pieces,
    pull_store,
    push_store,
)
from featstore.errors import StoreValueError
from featstore.manifest import Manifest, _digest
from featstore.remote import Bucket, Folder
from tests.featstore.travelling import SPEC, assert_equal_stores, make_store

PIECE_ROWS = 64


@pytest.fixture
def tmp_path(memory):
    """A folder in memory: what is synced here need not outlive the test."""
    return memory


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", PIECE_ROWS * SPEC.row_bytes)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.zarr", rows=100)


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    yield str(tmp_path / "place") if request.param == "folder" else "memory://place/here"
    fsspec.filesystem("memory").store.clear()


def refresh(path, video="d/v0", start=0, count=10, step=9, run=None):
    """Commit new rows of a video."""
    with FeatureStore.open(path, "r+", run=run) as opened:
        opened.write(video, start, np.random.default_rng(step).normal(size=(count, SPEC.channels)), step)
        return opened.commit()


def test_there_and_back_is_equal_to_the_bit(store, place, tmp_path):
    pushed = push_store(store, place)
    assert pushed.generation == 2 and pushed.sent == pushed.pieces > 5
    pulled = pull_store(place, tmp_path / "b.zarr")
    assert pulled.fetched == pulled.pieces and pulled.fetched_bytes == pushed.sent_bytes
    assert_equal_stores(store, tmp_path / "b.zarr")
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_an_empty_store_travels(tmp_path):
    FeatureStore.create(tmp_path / "empty.zarr", SPEC).close()
    push_store(tmp_path / "empty.zarr", str(tmp_path / "place"))
    pull_store(str(tmp_path / "place"), tmp_path / "b.zarr")
    assert_equal_stores(tmp_path / "empty.zarr", tmp_path / "b.zarr")


def test_only_what_changed_is_sent_and_fetched(store, place, tmp_path):
    first = push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    assert push_store(store, place).sent == 0
    assert pull_store(place, tmp_path / "b.zarr").fetched == 0
    refresh(store)  # rows of one piece, so the ledger of one; the table stays
    again = push_store(store, place)
    assert again.sent == 1 and again.pieces == first.pieces and again.generation == 3
    pulled = pull_store(place, tmp_path / "b.zarr")
    assert (pulled.fetched, pulled.generation) == (1, 3)
    assert_equal_stores(store, tmp_path / "b.zarr")
    pull_store(place, tmp_path / "old.zarr", generation=2)
    with FeatureStore.open(tmp_path / "old.zarr") as old, FeatureStore.open(store) as new:
        assert old.generation == 2 and (old.read("d/v0", 0, 10) != new.read("d/v0", 0, 10)).any()
    with pytest.raises(StoreNotFoundError, match="it has 2, 3"):
        pull_store(place, tmp_path / "c.zarr", generation=7)


def test_stores_take_turns(store, place, tmp_path):
    push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    refresh(tmp_path / "b.zarr", step=11, run="r")
    push_store(tmp_path / "b.zarr", place)
    pull_store(place, store)
    assert_equal_stores(store, tmp_path / "b.zarr")
    refresh(store, step=12, run="r")
    push_store(store, place)
    assert pull_store(place, tmp_path / "b.zarr").generation == 4
    assert_equal_stores(store, tmp_path / "b.zarr")


# -- on two ways -------------------------------------------------


def test_a_push_that_does_not_come_from_what_is_there(store, place, tmp_path):
    push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    refresh(store, step=20)
    refresh(tmp_path / "b.zarr", step=21)
    push_store(store, place)
    for _ in range(2):
        with pytest.raises(StoreLockedError, match="does not come from"):
            push_store(tmp_path / "b.zarr", place)
        with pytest.raises(StoreLockedError, match="in another way"):
            pull_store(place, tmp_path / "b.zarr")
        refresh(tmp_path / "b.zarr", step=22)  # a higher number changes nothing
    assert pull_store(place, store).fetched == 0


def test_stores_of_others_are_refused(store, place, tmp_path):
    from dataclasses import replace

    push_store(store, place)
    other = make_store(tmp_path / "other.zarr", replace(SPEC, encoder="another"), rows=20)
    with pytest.raises(StoreSpecError):
        push_store(other, place)
    with pytest.raises(StoreSpecError):
        pull_store(place, other)
    with FeatureStore.open(store, "r+"), pytest.raises(StoreLockedError):
        pull_store(place, store)


def test_two_pushes_at_once(store, place, tmp_path, monkeypatch):
    """Both saw the generation before: the manifest of the second is refused."""
    push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    refresh(store, step=20)
    refresh(tmp_path / "b.zarr", step=21)
    kind = Bucket if place.startswith("memory") else Folder
    write = kind.write

    def overtaken(self, name, data, new=False):
        monkeypatch.setattr(kind, "write", write)
        push_store(tmp_path / "b.zarr", place)
        write(self, name, data, new)

    monkeypatch.setattr(kind, "write", overtaken)
    with pytest.raises(StoreLockedError, match="by another push meanwhile"):
        push_store(store, place)
    pull_store(place, tmp_path / "c.zarr")
    assert_equal_stores(tmp_path / "b.zarr", tmp_path / "c.zarr")


def test_a_place_with_something_else(store, tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "diary.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match=re.escape("diary.txt")):
        push_store(store, str(tmp_path / "place"))
    with pytest.raises(StoreExistsError):
        pull_store(str(store), tmp_path / "b.zarr")
    assert sorted(os.listdir(tmp_path / "place")) == ["diary.txt"]


# -- cut anywhere -------------------------------------------------


class Cut:
    """A place that gives up after so many objects."""

    def __init__(self, monkeypatch, place, method, allowed):
        kind = Bucket if place.startswith("memory") else Folder
        real, self.names = getattr(kind, method), []

        def counted(remote, name, *arguments, **options):
            if remote.url == place:
                if len(self.names) >= allowed:
                    raise ConnectionResetError("cut")
                self.names.append(name)
            return real(remote, name, *arguments, **options)

        monkeypatch.setattr(kind, method, counted)


@pytest.mark.parametrize("allowed", [0, 3, 11, 12])
def test_a_push_that_is_cut_goes_on(store, place, tmp_path, allowed):
    with pytest.MonkeyPatch.context() as patch:
        cut = Cut(patch, place, "write", allowed)
        with pytest.raises(StoreTransferError, match="run the same command again"):
            push_store(store, place)
        assert len(cut.names) == allowed and "manifests" not in str(cut.names)
    with pytest.raises(StoreNotFoundError):
        pull_store(place, tmp_path / "b.zarr")
    again = push_store(store, place)
    assert again.sent == again.pieces - allowed
    pull_store(place, tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")


def test_a_push_that_is_cut_leaves_the_generation_before(store, place, tmp_path):
    push_store(store, place)
    shutil.copytree(store, tmp_path / "before.zarr")
    refresh(store, count=100)
    with pytest.MonkeyPatch.context() as patch:
        Cut(patch, place, "write", 1)
        with pytest.raises(StoreTransferError):
            push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    assert_equal_stores(tmp_path / "before.zarr", tmp_path / "b.zarr")
    push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")


def test_the_answer_to_the_manifest_is_lost(store, place, tmp_path, monkeypatch):
    kind = Bucket if place.startswith("memory") else Folder
    write = kind.write

    def deaf(self, name, data, new=False):
        write(self, name, data, new)
        if new:
            raise ConnectionResetError("cut")

    monkeypatch.setattr(kind, "write", deaf)
    assert push_store(store, place).generation == 2
    pull_store(place, tmp_path / "b.zarr")


@pytest.mark.parametrize("allowed", [1, 2, 7])
def test_a_pull_that_is_cut_goes_on_and_the_store_is_as_it_was(store, place, tmp_path, allowed):
    push_store(store, place)
    pull_store(place, tmp_path / "b.zarr")
    shutil.copytree(store, tmp_path / "before.zarr")
    with FeatureStore.open(store, "r+") as opened:
        for name in opened.video_ids[:-1]:
            opened.write(name, 0, np.ones((100, SPEC.channels)), 5)
        opened.commit()
    push_store(store, place)
    for target, old in ((tmp_path / "b.zarr", tmp_path / "before.zarr"), (tmp_path / "new.zarr", None)):
        with pytest.MonkeyPatch.context() as patch:
            cut = Cut(patch, place, "read", allowed)
            with pytest.raises(StoreTransferError, match="as it was"):
                pull_store(place, target)
        if old is None:
            assert not target.exists()
        else:
            assert_equal_stores(old, target)
        with pytest.MonkeyPatch.context() as patch:
            rest = Cut(patch, place, "read", 1000)
            pull_store(place, target)
        assert not set(cut.names[1:]) & set(rest.names)  # but for the manifest, nothing is fetched twice
        assert_equal_stores(store, target)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


# -- places from elsewhere ---------------------------------


@pytest.fixture
def pushed(store, tmp_path):
    push_store(store, str(tmp_path / "place"))
    return tmp_path / "place"


def refused(pushed, tmp_path, match="."):
    with pytest.raises((StoreFormatError, StoreNotFoundError), match=match):
        pull_store(str(pushed), tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()


def forge(pushed, change):
    """Change the manifest, and make its digest anew."""
    (path,) = (pushed / "manifests").iterdir()
    document = json.loads(path.read_text())
    del document["sha256"]
    change(document)
    path.write_text(json.dumps({**document, "sha256": _digest(document)}))


def test_an_object_that_is_lost_cut_or_changed(store, pushed, tmp_path):
    for path in sorted((pushed / "objects").iterdir()):
        data = path.read_bytes()
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        for damaged in (
            None,
            data[:-1],
            bytes(flipped),
            bytes(len(data)),
            data[:20] + b"\xff" * (len(data) - 20),
        ):
            path.unlink(missing_ok=True)
            if damaged is not None:
                path.write_bytes(damaged)
            refused(pushed, tmp_path)
            shutil.rmtree(tmp_path / ".b.zarr.pulling", ignore_errors=True)
        path.write_bytes(data)
    pull_store(str(pushed), tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")


def test_what_was_kept_of_a_pull_is_not_believed_either(pushed, tmp_path):
    kept = tmp_path / ".b.zarr.pulling" / "objects"
    kept.mkdir(parents=True)
    name = sorted(os.listdir(pushed / "objects"))[0]
    (kept / name).write_bytes(bytes((pushed / "objects" / name).stat().st_size))
    refused(pushed, tmp_path)


def test_a_manifest_that_was_changed(pushed, tmp_path):
    (path,) = (pushed / "manifests").iterdir()
    path.write_text(path.read_text().replace('"num_videos": ', '"num_videos": 1'))
    refused(pushed, tmp_path, "its digest is another")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["pieces"].__setitem__(0, "../../etc/passwd"),
        lambda d: d["pieces"].__setitem__(0, d["pieces"][1]),
        lambda d: d["pieces"].reverse(),
        lambda d: d["pieces"].pop(),
        lambda d: d.update(pieces=5),
        lambda d: d.update(table=d["pieces"][0]),
        lambda d: d.update(table=None),
        lambda d: d.update(piece_rows=1 << 40),
        lambda d: d.update(history=[["a", 1]]),
        lambda d: d["commit"].update(num_rows=1 << 50, rows_before=1 << 50),
        lambda d: d["commit"].update(num_videos=3, videos_before=3),
        lambda d: d["commit"].update(generation=9),
        lambda d: d["commit"].update(applied=False),
        lambda d: d["spec"].update(channels=3),
        lambda d: d["chunks"].update(features=1 << 60),
        lambda d: d.update(format=2),
        lambda d: d.clear(),
    ],
)
def test_a_forged_manifest(pushed, tmp_path, change):
    forge(pushed, change)
    refused(pushed, tmp_path)


def test_an_object_that_would_blow_up(pushed, tmp_path):
    """A gigabyte of zeros in some kilobytes, under the name of a piece: its size is read first."""
    bomb = bytes(Blosc(cname="zstd", clevel=9).encode(np.zeros(1 << 28, "<u4")))
    (path,) = (pushed / "manifests").iterdir()
    name = json.loads(path.read_text())["pieces"][0]
    data = (pushed / name).read_bytes()
    kind, first, _ = pieces._HEAD.unpack_from(data)
    ledger = data[pieces._HEAD.size : pieces._HEAD.size + first]
    forged = pieces._HEAD.pack(kind, first, len(bomb)) + ledger + bomb
    new = f"{name.rpartition('.')[0]}.{len(forged)}"
    (pushed / new).write_bytes(forged)
    forge(pushed, lambda d: d["pieces"].__setitem__(0, new))
    refused(pushed, tmp_path, "of another size than promised")


def test_a_manifest_survives_its_own_bytes(store, pushed):
    (path,) = (pushed / "manifests").iterdir()
    manifest = Manifest.from_bytes(path.read_bytes(), "here")
    assert Manifest.from_bytes(manifest.to_bytes(), "here") == manifest


def test_urls_that_are_none(store, tmp_path):
    for url in ("http://host/x", "s3://bucket", "reference::s3://a/b"):
        with pytest.raises(StoreValueError):
            push_store(store, url)
        with pytest.raises(StoreValueError):
            pull_store(url, tmp_path / "b.zarr")
