"""Every change the store makes on disk goes through here, so that tests can record, cut and fail it."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable
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
                f"{error.strerror}. "
                "What was committed is intact; free space or mend the disk, then go on, or call rollback()",
            ) from error

    return wrapped


_RETRY_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class FileOps:
    """The operating system's own calls; `path` arguments are absolute, data is any contiguous buffer."""

    def open(self, path: Path, create: bool = False) -> int:
        """Open for reading and writing; a new file's name is durable only after `sync_dir` of its folder."""
        flags = os.O_RDWR | os.O_CLOEXEC
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

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        os.makedirs(path, exist_ok=True)

    def sync_dir(self, path: Path) -> None:
        """Make names created, renamed and removed in a folder durable."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_atomically(files: FileOps, path: Path, data: bytes) -> None:
    """Replace a small file so that readers, and a crash at any moment, find the old or the new one, whole."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fd = files.open(temporary, create=True)
    try:
        files.truncate(fd, 0)
        files.pwrite(fd, data, 0)
        files.sync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(temporary)
        raise
    finally:
        files.close(fd)
    files.replace(temporary, path)
    files.sync_dir(path.parent)
