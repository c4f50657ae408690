"""Stores in a bucket of a real S3 server on loopback, with the wire cut in the middle."""

import shutil

import numpy as np
import pytest

from featstore import (
    FeatureStore,
    StoreLockedError,
    StoreNotFoundError,
    StoreTransferError,
    pack_store,
    pieces,
    pull_store,
    push_store,
    unpack_store,
)
from featstore.remote import Bucket
from tests.featstore.bucket import running_bucket
from tests.featstore.travelling import SPEC, assert_equal_stores, make_store


@pytest.fixture
def tmp_path(memory):
    """A folder in memory: what is synced here need not outlive the test."""
    return memory


@pytest.fixture(scope="module")
def wire():
    with running_bucket() as wire:
        yield wire


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 200 * SPEC.row_bytes)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "a.zarr", rows=200)


def test_a_packed_copy_in_a_bucket(wire, store, tmp_path):
    url = "s3://bucket/packed/one"
    wire.cut_after(60_000)
    with pytest.raises(StoreTransferError, match="run the same command again"):
        pack_store(store, url)
    wire.mend()
    with pytest.raises(StoreNotFoundError):
        unpack_store(url, tmp_path / "b.zarr")
    pack_store(store, url)  # over what is left of the first
    wire.cut_after(30_000)
    with pytest.raises(StoreTransferError):
        unpack_store(url, tmp_path / "b.zarr")
    wire.mend()
    assert not (tmp_path / "b.zarr").exists()
    unpack_store(url, tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")


@pytest.mark.parametrize("cut", [500, 15_000, 40_000])
def test_a_wire_that_is_cut_midway(wire, store, tmp_path, cut):
    """At each cut there is the generation before; the next try sends and fetches the rest alone."""
    url, cuts = f"s3://bucket/cut/{cut}", wire.cuts
    push_store(store, url)
    pull_store(url, tmp_path / "b.zarr")
    shutil.copytree(store, tmp_path / "before.zarr")
    with FeatureStore.open(store, "r+") as opened:
        for name in opened.video_ids[:-1]:
            opened.write(name, 0, np.random.default_rng(5).normal(size=(200, SPEC.channels)), 5)
        opened.commit()
    wire.cut_after(cut)
    with pytest.raises(StoreTransferError):
        push_store(store, url)
    wire.mend()
    pull_store(url, tmp_path / "c.zarr")
    assert_equal_stores(tmp_path / "before.zarr", tmp_path / "c.zarr")
    pushed = push_store(store, url)
    assert pushed.generation == 3
    wire.cut_after(cut)
    with pytest.raises(StoreTransferError):
        pull_store(url, tmp_path / "b.zarr")
    wire.mend()
    assert_equal_stores(tmp_path / "before.zarr", tmp_path / "b.zarr")
    pull_store(url, tmp_path / "b.zarr")
    assert_equal_stores(store, tmp_path / "b.zarr")
    assert wire.cuts >= cuts + 2


def test_two_pushes_at_once_to_a_bucket(wire, store, tmp_path, monkeypatch):
    """The server itself refuses the second manifest, also where none was there a moment before."""
    url = "s3://bucket/race"
    push_store(store, url)
    pull_store(url, tmp_path / "b.zarr")
    for number, path in enumerate((store, tmp_path / "b.zarr")):
        with FeatureStore.open(path, "r+") as opened:
            opened.write("d/v0", 0, np.full((3, SPEC.channels), number), 5)
            opened.commit()
    write = Bucket.write

    def overtaken(self, name, data, new=False):
        if new:
            monkeypatch.setattr(Bucket, "write", write)
            push_store(tmp_path / "b.zarr", url)
            exists = self._fs.exists
            monkeypatch.setattr(self._fs, "exists", lambda path: False)
            try:
                write(self, name, data, new)
            finally:
                monkeypatch.setattr(self._fs, "exists", exists)
        else:
            write(self, name, data, new)

    monkeypatch.setattr(Bucket, "write", overtaken)
    with pytest.raises(StoreLockedError, match="by another push meanwhile"):
        push_store(store, url)
    pull_store(url, tmp_path / "c.zarr")
    assert_equal_stores(tmp_path / "b.zarr", tmp_path / "c.zarr")


def test_a_bucket_that_is_not_there(wire, store, tmp_path):
    with pytest.raises(StoreTransferError, match="s3://no-such-bucket"):
        push_store(store, "s3://no-such-bucket/place")
    with pytest.raises((StoreTransferError, StoreNotFoundError)):
        pull_store("s3://no-such-bucket/place", tmp_path / "b.zarr")
