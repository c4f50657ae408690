"""A writer that dies between a commit and its application: the next finishes it, or says what is damaged."""

import errno
import os
import shutil

import numpy as np
import pytest

from featstore import FeatureStore, FeatureStoreError, StoreFormatError, StoreWriteError
from featstore.files import FileOps
from tests.featstore.simulation import SMALL, state


class DiskUntilTheCommit(FileOps):
    """Refuses every write after the first rename of commit.json."""

    committed = False

    def replace(self, source, target):
        super().replace(source, target)
        self.committed |= target.name == "commit.json"

    def pwrite(self, fd, data, offset):
        if self.committed:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().pwrite(fd, data, offset)


@pytest.fixture
def path(memory):
    """A store at generation 1 whose rows are in the log alone."""
    root = memory / "s.zarr"
    FeatureStore.create(root, SMALL, chunk_bytes=256).close()
    store = FeatureStore.open(root, "r+", files=DiskUntilTheCommit())
    store.add_video("a", num_rows=5)
    store.write("a", 0, np.arange(20.0).reshape(5, 4), 0)
    store.complete("a")
    with pytest.raises(StoreWriteError, match="committed is intact"):
        store.commit()
    store._log.close()
    store._lock.abandon()  # as the system does for a process that dies
    store._closed = True
    return root


def contents(root):
    """Bytes of all files but the locks, which hold no data."""
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.startswith("lock."))
    return {p.relative_to(root): p.read_bytes() for p in files}


def test_the_next_writer_brings_the_commit_into_the_base(path):
    with FeatureStore.open(path) as reader:
        assert reader.generation == 1 and not reader._commit.applied
        before = state(reader)
    for _ in range(2):
        with FeatureStore.open(path, "r+") as store:
            assert store.generation == 1 and store._commit.applied
            assert state(store) == before
            np.testing.assert_array_equal(store.read("a", 0, 5, verify=True), np.arange(20.0).reshape(5, 4))
    assert not [p for p in (path / "log").iterdir() if not p.name.startswith("lock.")]


def test_applying_twice_gives_the_same_bytes(path):
    commit_file, logs = (path / "commit.json").read_bytes(), path.parent / "logs"
    shutil.copytree(path / "log", logs)
    FeatureStore.open(path, "r+").close()
    once = contents(path)
    shutil.copytree(logs, path / "log", dirs_exist_ok=True)
    (path / "commit.json").write_bytes(commit_file)
    FeatureStore.open(path, "r+").close()
    assert contents(path) == once


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("rows", "flip", "is damaged in 1 of 5 rows"),
        ("rows", "cut", "is cut"),
        ("rows", "remove", "is missing"),
        ("journal", "flip", "is damaged at byte"),
        ("journal", "cut", "is damaged at byte"),
        ("journal", "remove", "is missing"),
    ],
)
def test_a_damaged_log_is_refused_before_anything_changes(path, file, damage, message):
    (log,) = (path / "log").glob(f"*.{file}")
    data = bytearray(log.read_bytes())
    if damage == "remove":
        log.unlink()
    else:
        data[len(data) // 2] ^= 0xFF
        log.write_bytes(data if damage == "flip" else data[:-7])
    before = contents(path)
    with pytest.raises(StoreFormatError, match=f"{message}.*restore the store from a copy"):
        FeatureStore.open(path, "r+")
    assert contents(path) == before


class RefusingOnce(FileOps):
    """Refuses the next call of one kind."""

    refused = ""

    def _refuse(self, kind):
        if self.refused == kind:
            self.refused = ""
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def pwrite(self, fd, data, offset):
        self._refuse("pwrite")
        super().pwrite(fd, data, offset)

    def sync(self, fd):
        self._refuse("sync")
        super().sync(fd)


@pytest.mark.parametrize("call", ["sync", "pwrite"])
def test_after_a_refused_sync_or_overwrite_only_a_rollback_helps(memory, call):
    """The system may drop the pages of a failed sync, and the next sync then succeeds: it must not count."""
    files = RefusingOnce()
    FeatureStore.create(memory / "s.zarr", SMALL, chunk_bytes=256).close()
    with FeatureStore.open(memory / "s.zarr", "r+", files=files) as store:
        store.add_video("a", num_rows=5)
        store.write("a", 0, np.ones((5, 4)), 0)
        files.refused = call
        with pytest.raises(StoreWriteError):
            store.commit() if call == "sync" else store.write("a", 0, np.zeros((5, 4)), 0)
        for _ in range(2):
            with pytest.raises(FeatureStoreError, match="failed half-way"):
                store.commit()
        store.rollback()
        assert store.generation == 0 and not store.ids("reserved")
        store.add_video("b", num_rows=1)
        assert store.commit() == 1
