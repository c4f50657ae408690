"""Whole stores: copy, merge, compact. A new store appears at its path complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from featstore.arrays import FlatArray
from featstore.base import Base
from featstore.errors import StoreExistsError, StoreWriteError
from featstore.files import FileOps
from featstore.layout import FORMAT, Commit
from featstore.reading import StoreReader

_FICLONE = 0x40049409
_COPY_BYTES = 16 << 20


def copy_store(store: StoreReader, path: Path, run_id: str | None) -> Path:
    """Copy of the last commit, same generation; run_id None keeps the store's own.

    StoreExistsError; StoreWriteError when the disk has too little space (nothing is left behind).
    """
    with store._guard, building(path) as folder:
        while True:
            store._refresh()
            commit = store._commit
            _copy_metadata(store.path, folder)
            for array, items in _sizes(store._base, commit):
                _copy_array(array, items, folder / array.folder.relative_to(store.path))
            (folder / "log").mkdir(exist_ok=True)
            for entry in commit.logs:  # committed, but not yet in the base: the copy's first writer recovers
                for name in (entry.rows_file, entry.journal_file):
                    if (store.path / name).exists():
                        _copy_file(store.path / name, folder / name, (store.path / name).stat().st_size)
            if store._unchanged():
                break
            shutil.rmtree(folder)
            folder.mkdir()
        write_new_commit(folder, replace(commit, run_id=run_id or commit.run_id))
    return path


def _sizes(base: Base, commit: Commit) -> Iterator[tuple[FlatArray, int]]:
    for array in (base.features, *base.ledger.values()):
        yield array, commit.rows_before
    for array in base.videos.values():
        yield array, commit.videos_before
    yield base.text, commit.text_bytes


@contextlib.contextmanager
def building(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its name at the end; removed when something fails."""
    if path.exists():
        raise StoreExistsError(f"{path} exists already: choose another path, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.building-*"):
        if not _alive(int(left.name.rsplit("-", 1)[1])):
            shutil.rmtree(left)
    folder = path.parent / f".{path.name}.building-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
        for inner, _, _ in os.walk(folder, topdown=False):
            FileOps().sync_dir(Path(inner))
        os.rename(folder, path)
        FileOps().sync_dir(path.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _copy_metadata(source: Path, folder: Path) -> None:
    for path in source.rglob("zarr.json"):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())


def write_new_commit(folder: Path, commit: Commit) -> None:
    with open(folder / "commit.json", "wb") as file:
        file.write(json.dumps({"format": FORMAT, **asdict(commit)}, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())


def _copy_array(array: FlatArray, items: int, target: Path) -> None:
    for number in range(-(-items // array.chunk)):
        source = array.chunk_path(number)
        goal = target / source.relative_to(array.folder)
        goal.parent.mkdir(parents=True, exist_ok=True)
        array.check_size(number)
        used = min(array.chunk, items - number * array.chunk) * array.item_bytes
        _copy_file(source, goal, used, array.chunk_bytes)


def _copy_file(source: Path, target: Path, used: int, size: int | None = None) -> None:
    """The first `used` bytes of a file, made `size` long; its blocks shared where the file system can."""
    with open(source, "rb") as origin, open(target, "wb") as copy:
        if not _clone(origin.fileno(), copy.fileno()):
            free = shutil.disk_usage(target.parent).free
            if used > free:
                raise StoreWriteError(
                    errno.ENOSPC,
                    f"copying {source} needs {used >> 20} MiB, {target.parent} has {free >> 20} MiB free",
                )
            _copy_bytes(origin.fileno(), copy.fileno(), used)
        if size is not None:
            os.ftruncate(copy.fileno(), size)
            with contextlib.suppress(OSError):
                os.posix_fallocate(copy.fileno(), 0, max(1, used))
        os.fsync(copy.fileno())


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_bytes(source: int, target: int, count: int) -> None:
    done = 0
    while done < count:
        data = os.pread(source, min(_COPY_BYTES, count - done), done)
        if not data:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        FileOps().pwrite(target, data, done)
        done += len(data)
