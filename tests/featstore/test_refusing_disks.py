"""Disks that are full, drives that do not lock: one error that says what to do, and nothing left behind."""

import errno
import fcntl
import resource
from contextlib import contextmanager

import pytest

from featstore import FeatureSpec, FeatureStore
from featstore.errors import FeatureStoreError, StoreLockedError, StoreWriteError
from featstore.transfer import building

SPEC = FeatureSpec("e", "w", 2, 1, 1)


@contextmanager
def no_file_longer_than(size):
    """The system refuses to let a file grow beyond so many bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 600])
def test_a_full_disk_when_a_store_is_made(tmp_path, size):
    with no_file_longer_than(size), pytest.raises(StoreWriteError, match=r"cannot be made: .*Free space"):
        FeatureStore.create(tmp_path / "s.zarr", SPEC)
    assert list(tmp_path.iterdir()) == []
    with (
        no_file_longer_than(size),
        pytest.raises(StoreWriteError, match="cannot be made"),
        building(tmp_path / "s.zarr") as work,
    ):
        FeatureStore.create(work, SPEC)
    assert list(tmp_path.iterdir()) == []
    FeatureStore.create(tmp_path / "s.zarr", SPEC).close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_drive_without_locks_is_not_a_store_that_is_in_use(tmp_path, monkeypatch, number):
    FeatureStore.create(tmp_path / "s.zarr", SPEC).close()

    def refuse(descriptor, operation):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        FeatureStoreError, match=r"s\.zarr cannot be locked \(No locks available\).*local disk"
    ) as raised:
        FeatureStore.open(tmp_path / "s.zarr", mode="r+")
    assert not isinstance(raised.value, StoreLockedError)
    with FeatureStore.open(tmp_path / "s.zarr") as store:  # reading needs no lock
        assert store.video_ids == []
