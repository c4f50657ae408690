"""The door to the disk: a store's changes go through here, so that tests can record, cut and fail them.

Two do not: the lock files (`locking.py`), which hold no data, and what zarr writes when a store is created.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from featstore.errors import LongtalError, StoreWriteError

P = ParamSpec("P")
T = TypeVar("T")


def disk_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Turn an OSError of the disk into StoreWriteError, which says what is safe and what to do."""

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except OSError as error:
            if isinstance(error, LongtalError):
                raise
            raise StoreWriteError(
                error.errno,
                f"the disk refused a write of {getattr(args[0], 'path', '')} in {method.__name__}(): "
                f"{error.strerror}. What was committed is intact; free space or mend the disk, "
                "then go on, or call rollback()",
            ) from error

    return wrapped


# Linux's own numbers: clone a file's blocks (ioctl_ficlone(2)); swap two names (renameat2(2)).
_FICLONE = 0x40049409
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_RETRY_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class FileOps:
    """The operating system's own calls; `path` arguments are absolute, data is any contiguous buffer."""

    def open(self, path: Path, create: bool = False) -> int:
        """Open for reading and writing; a new file's name is durable only after `sync_dir` of its folder.

        A link is an OSError: in a store from elsewhere it may lead to any file.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags | os.O_CREAT if create else flags, 0o666)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pwrite(self, fd: int, data: Any, offset: int) -> None:
        """Write all of data at offset; OSError (ENOSPC, EIO, ...) when the disk does not take it."""
        written = os.pwrite(fd, data, offset)
        total = data.nbytes if isinstance(data, np.ndarray) else len(data)
        while written < total:  # a signal, or a disk about to be full
            written += os.pwrite(
                fd, memoryview(np.frombuffer(data, np.uint8).data)[written:], offset + written
            )

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def allocate(self, fd: int, offset: int, length: int) -> None:
        """Reserve disk blocks, so that later writes there cannot run out of space."""
        try:
            os.posix_fallocate(fd, offset, length)
        except OSError as error:
            # A file system without reservation: a full disk shows up in pwrite instead, as an OSError too.
            if error.errno not in _RETRY_FALLOCATE:
                raise

    def sync(self, fd: int) -> None:
        os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Rename over the target, atomically."""
        os.replace(source, target)

    def exchange(self, first: Path, second: Path) -> None:
        """Swap two names in one step; where the system cannot, in three, `second` put aside meanwhile."""
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "renameat2"):
            names = os.fsencode(first), os.fsencode(second)
            if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
                return
        aside = second.with_name(f"{second.name}.aside")
        os.rename(second, aside)
        try:
            os.rename(first, second)
        except OSError:
            os.rename(aside, second)
            raise
        os.rename(aside, first)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all that it holds."""
        shutil.rmtree(path) if path.is_dir() else self.unlink(path)

    def clone(self, source: int, target: int) -> bool:
        """Let a new file share the blocks of another; False where the file system cannot."""
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            return False
        return True

    def mkdir(self, path: Path) -> None:
        os.makedirs(path, exist_ok=True)

    def sync_dir(self, path: Path) -> None:
        """Make names created, renamed and removed in a folder durable."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextlib.contextmanager
def put_in_place(files: FileOps, path: Path, beside: Path, exchange: bool = False) -> Iterator[None]:
    """Let the body make a file or a folder at `beside`, which then takes the name `path` in one step.

    The body syncs the files that it writes; names are made durable here. So readers, and a crash at any
    moment, find the old one or the new one, whole. `beside` is removed when anything fails.

    Parameters
    ----------
    files
        The door to the disk.
    path
        The name to take.
    beside
        Where the body makes it, in the same folder as `path`.
    exchange
        `path` is a folder: the two swap their names, and the old one is removed.
    """
    try:
        yield
        sync_folders(files, beside)
        if exchange:
            files.exchange(beside, path)
        else:
            files.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove(beside)
        raise
    files.sync_dir(path.parent)
    if exchange:
        files.remove(beside)


def sync_folders(files: FileOps, root: Path) -> None:
    """Make the names in a folder and in all folders below it durable; nothing to do for a file."""
    for folder, _, _ in os.walk(root, topdown=False):
        files.sync_dir(Path(folder))


def write_atomically(files: FileOps, path: Path, data: bytes) -> None:
    """Replace a small file in one step."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with put_in_place(files, path, beside):
        write_durably(files, beside, data)


def write_durably(files: FileOps, path: Path, data: bytes) -> None:
    """Give a file this content, in place, and wait until it is on the disk."""
    fd = files.open(path, create=True)
    try:
        files.truncate(fd, 0)
        files.pwrite(fd, data, 0)
        files.sync(fd)
    finally:
        files.close(fd)
