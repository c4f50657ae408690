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
from contextlib import suppress
from pathlib import Path
from types import TracebackType

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
        if not stat.S_ISREG(there.st_mode):
            what = "a link" if stat.S_ISLNK(there.st_mode) else "not a plain file"
            raise OutputError(f"{self.path} is {what}, and only a file itself is written: give another --out")
        return there.st_ino, there.st_size, there.st_mtime_ns

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
