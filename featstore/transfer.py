"""Whole stores: copy, merge, compact. A new store appears at its path complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from featstore.arrays import FlatArray
from featstore.base import Base
from featstore.documents import open_regular
from featstore.errors import StoreExistsError, StoreWriteError
from featstore.files import FileOps, put_in_place
from featstore.layout import Commit, write_commit
from featstore.reading import StoreReader

_COPY_BYTES = 16 << 20


def copy_store(store: StoreReader, path: Path, run_id: str | None) -> Path:
    """Copy the last commit; the copy has its generation.

    Parameters
    ----------
    store
        The store.
    path
        Where the copy is to stand.
    run_id
        The run that the copy serves; None keeps the store's own.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StoreExistsError
        Something stands there.
    StoreWriteError
        The disk has too little space; nothing is left behind.
    """
    files = store._files
    with store._guard, building(path, files=files) as folder:
        while True:
            store._refresh()
            commit = store._commit
            for source, used, size in _pieces(store, commit):
                target = folder / source.relative_to(store.path)
                files.mkdir(target.parent)
                _copy_file(files, source, target, used, size)
            files.mkdir(folder / "log")
            if store._unchanged():
                break
            files.remove(folder)
        write_commit(files, folder, replace(commit, run_id=run_id or commit.run_id))
    return path


def _pieces(store: StoreReader, commit: Commit) -> Iterator[tuple[Path, int | None, int | None]]:
    """(file, bytes that count, size) of what belongs to a commit but commit.json; None: as the file is."""
    for path in store.path.rglob("zarr.json"):
        yield path, None, None
    for array, items in _sizes(store._base, commit):
        for number in range(-(-items // array.chunk)):
            array.check_size(number)
            used = min(array.chunk, items - number * array.chunk) * array.item_bytes
            yield array.chunk_path(number), used, array.chunk_bytes
    for entry in commit.logs:  # committed, but not yet in the base: the copy's first writer recovers
        for name in (entry.rows_file, entry.journal_file):
            if (store.path / name).exists():
                yield store.path / name, None, None


def _sizes(base: Base, commit: Commit) -> Iterator[tuple[FlatArray, int]]:
    """(array, items of it that the base has)."""
    for array in (base.features, *base.ledger.values()):
        yield array, commit.rows_before
    for array in base.videos.values():
        yield array, commit.videos_before
    yield base.text, commit.text_bytes


@contextlib.contextmanager
def building(path: Path, replacing: bool = False, files: FileOps | None = None) -> Iterator[Path]:
    """Where the body makes a folder, which takes the name `path` at the end, or goes when something fails.

    Parameters
    ----------
    path
        Where the folder is to stand.
    replacing
        It takes the place of a folder that stands there.
    files
        The door to the disk.

    Yields
    ------
    Path
        A path beside `path` where nothing stands: the body makes the folder.

    Raises
    ------
    StoreExistsError
        Something stands at `path` and is not to be replaced.
    """
    files = files or FileOps()
    if path.exists() and not replacing:
        raise StoreExistsError(f"{path} exists already: choose another path, or remove it first")
    files.mkdir(path.parent)
    for left in path.parent.glob(f".{path.name}.building-*"):
        if not _alive(int(left.name.rsplit("-", 1)[1])):
            files.remove(left)
    folder = path.parent / f".{path.name}.building-{os.getpid()}"
    if folder.exists():
        raise StoreExistsError(f"{folder} exists already: this process is making {path}")
    with put_in_place(files, path, folder, exchange=replacing):
        yield folder


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _copy_file(
    files: FileOps, source: Path, target: Path, used: int | None = None, size: int | None = None
) -> None:
    """The first `used` bytes of a file, made `size` long; its blocks shared where the file system can."""
    with open(open_regular(source), "rb") as origin:
        used = os.fstat(origin.fileno()).st_size if used is None else used
        copy = files.open(target, create=True)
        try:
            if not files.clone(origin.fileno(), copy):
                _check_free(source, target.parent, used)
                _copy_bytes(files, origin.fileno(), copy, used)
            if size is not None:
                files.truncate(copy, size)
                with contextlib.suppress(OSError):
                    files.allocate(copy, 0, max(1, used))
            files.sync(copy)
        finally:
            files.close(copy)


def _check_free(source: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreWriteError(
            errno.ENOSPC,
            f"copying {source} needs {needed >> 20} MiB, {folder} has {free >> 20} MiB free",
        )


def _copy_bytes(files: FileOps, source: int, target: int, count: int) -> None:
    done = 0
    while done < count:
        data = os.pread(source, min(_COPY_BYTES, count - done), done)
        if not data:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        files.pwrite(target, data, done)
        done += len(data)
