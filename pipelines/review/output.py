"""The one file that a review writes: its place is fixed at the start, links are refused at every open.

The folder is opened once and the file is reached through that handle, so that a folder renamed or replaced
later cannot lead elsewhere. A lock beside the file keeps a second review of it out; the system drops it
when its holder dies, however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from featstore.documents import why
from tal.errors import LongtalError, OutputError

# What tells whether a file changed: its inode, size and time of change; None: there is no file.
Stamp = tuple[int, int, int] | None


class ReviewLockedError(LongtalError, RuntimeError):
    """Another review writes this file."""


class OutputFile:
    """A file that is read and replaced as a whole; a context manager, whose ``close`` gives the lock back.

    Raises
    ------
    OutputError
        its folder cannot be made or written, or a link, a folder or a device stands at the path.
    ReviewLockedError
        another process reviews into the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self._name = self.path.name
        self._lock_name = f".{self._name}.lock"
        self._history_name = f".{self._name}.undo"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {why(error)}") from error
        try:
            self._lock = self._take_lock()
        except BaseException:
            os.close(self._folder)
            raise
        try:
            self.stamp()
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            try:
                lock = os.open(self._lock_name, flags, 0o600, dir_fd=self._folder)
            except OSError as error:
                raise OutputError(f"{self.path} cannot be written: {why(error)}") from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise OutputError(f"{self.path}: its folder has no locks: {why(error)}") from error
                raise ReviewLockedError(
                    f"{self.path} is open in another `longtal review`: end that one, or give another --out"
                ) from error
            if self._is_lock(lock):
                return lock
            os.close(lock)  # its holder went away, and took the name with it, while we waited

    def _is_lock(self, lock: int) -> bool:
        try:
            there = os.stat(self._lock_name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (os.fstat(lock).st_dev, os.fstat(lock).st_ino)

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            os.unlink(self._lock_name, dir_fd=self._folder)
        os.close(self._lock)
        os.close(self._folder)

    def stamp(self) -> Stamp:
        """The file's stamp; OutputError where something else than a plain file stands there."""
        try:
            there = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {why(error)}") from error
        self._require_plain(there, self._name)
        return there.st_ino, there.st_size, there.st_mtime_ns

    def _require_plain(self, there: os.stat_result, name: str) -> None:
        if not stat.S_ISREG(there.st_mode):
            what = "a link" if stat.S_ISLNK(there.st_mode) else "not a plain file"
            path = self.path.with_name(name)
            raise OutputError(f"{path} is {what}, and only a file itself is written: give another --out")

    def read(self) -> bytes:
        """The file's bytes; no link is followed, even one put there a moment ago."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            with open(os.open(self._name, flags, dir_fd=self._folder), "rb") as file:
                return file.read()
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {why(error)}") from error

    def write(self, content: bytes) -> Stamp:
        """Replace the file, whole or not at all, and wait until it is on the disk; its new stamp."""
        self.stamp()
        beside = f".{self._name[:40]}.{secrets.token_hex(4)}.tmp"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(beside, flags, 0o666, dir_fd=self._folder), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            with suppress(OSError):
                os.unlink(beside, dir_fd=self._folder)
            raise OutputError(f"{self.path} cannot be written: {why(error)}") from error
        return self.stamp()

    def read_history(self, most_bytes: int) -> bytes:
        """The last ``most_bytes`` of the history that lies beside the file; b"" where there is none."""
        with self._history(os.O_RDONLY) as file:
            if file is None:
                return b""
            file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
            return file.read()

    def write_history(self, content: bytes) -> None:
        """Begin the history anew with ``content``."""
        with self._history(os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            assert file is not None
            file.write(content)

    def append_history(self, content: bytes) -> None:
        """Add to the history, without waiting for the disk: what counts is the file."""
        with self._history(os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            assert file is not None
            file.write(content)

    @contextmanager
    def _history(self, flags: int) -> Iterator[BinaryIO | None]:
        """The history opened, links refused; None where it is to be read and is not there."""
        path = self.path.with_name(self._history_name)
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with suppress(FileNotFoundError):
                there = os.stat(self._history_name, dir_fd=self._folder, follow_symlinks=False)
                self._require_plain(there, self._history_name)
            try:
                descriptor = os.open(self._history_name, flags, 0o600, dir_fd=self._folder)
            except FileNotFoundError:
                yield None
                return
            with open(descriptor, "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "wb") as file:
                self._require_plain(os.fstat(descriptor), self._history_name)
                yield file
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{path} cannot be read or written: {why(error)}") from error
