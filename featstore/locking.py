"""Who may write: one run at a time, one process a writer number."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from featstore.documents import open_regular, read_json
from featstore.errors import FeatureStoreError, StoreLockedError
from featstore.layout import writable_error


class WriterLock:
    """An `flock` on log/lock.WRITER, which the system drops when its holder dies, however it dies.

    The file's content names the holder for messages, and the run for those who join; the lock itself decides.

    Parameters
    ----------
    root
        The store's folder.
    writer, writers
        This process's number among the run's writers, and how many there are.
    run
        Name of the run.

    Raises
    ------
    StoreLockedError
        A live process holds the lock; the message names it.
    FeatureStoreError
        The folder cannot be written, or its file system has no locks.
    """

    def __init__(self, root: Path, writer: int, writers: int, run: str | None) -> None:
        self.path = _lock_path(root, writer)
        self.dead_holder: dict[str, Any] | None = None
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise writable_error(root, error) from error
        try:
            self._take()
        except OSError as error:
            os.close(self._fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise no_locks(root, error) from error
            held = read_holder(root, writer) or {}
            raise StoreLockedError(
                f"{root} is being written by process {held.get('pid', '?')} on {held.get('host', '?')} "
                f"(run {held.get('run')!r}, writer {writer}): wait for it, or open with mode='r'"
            ) from error
        left = read_holder(root, writer)
        if left and left.get("pid"):
            self.dead_holder = left
        self._holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "run": run,
            "writers": writers,
            "since": time.time(),
            "ready": False,
        }
        self._write(json.dumps(self._holder).encode())

    def _take(self) -> None:
        for attempt in range(20):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if attempt == 19:
                    raise
                time.sleep(0.005)  # `is_held` of another process takes it for a moment
            else:
                return

    def ready(self) -> None:
        """Recovery is done: others may join."""
        self._holder["ready"] = True
        self._write(json.dumps(self._holder).encode())

    def _write(self, content: bytes) -> None:
        try:
            os.pwrite(self._fd, content, 0)
            os.ftruncate(self._fd, len(content))
        except OSError:
            self.abandon()
            raise

    def release(self) -> None:
        """Give the lock back, leaving no name of a holder behind."""
        if self._fd >= 0:
            try:
                os.ftruncate(self._fd, 0)
            finally:
                self.abandon()

    def abandon(self) -> None:
        """Close without a trace: after a fork the child drops its copy, the parent's lock stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def no_locks(folder: Path | str, error: OSError) -> FeatureStoreError:
    """What to raise where the file system does not lock, as some network drives do not."""
    return FeatureStoreError(
        f"{folder} cannot be locked ({error.strerror}), so nobody could say who writes to it: put it on a "
        "local disk, or on a drive that is mounted with locks (flock)"
    )


def _lock_path(root: Path, writer: int) -> Path:
    return root / "log" / f"lock.{writer:03d}"


def read_holder(root: Path, writer: int = 0) -> dict[str, Any] | None:
    """What the last holder left in the lock file: pid, host, run, writers, since; None where it let go."""
    try:
        value = read_json(_lock_path(root, writer), StoreLockedError)
    except StoreLockedError:
        return None
    return value if isinstance(value, dict) else None


def is_held(root: Path) -> bool:
    """Whether a live process has the lock of writer 0 now."""
    try:
        fd = open_regular(_lock_path(root, 0))
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    else:
        return False
    finally:
        os.close(fd)


def await_first_writer(root: Path, run: str | None, writers: int, timeout_s: float) -> None:
    """Wait until writer 0 of the same run holds the store and has recovered it.

    Raises
    ------
    StoreLockedError
        Another run holds it, or nobody does within `timeout_s` seconds.
    """
    until = time.monotonic() + timeout_s
    while True:
        holder = read_holder(root) if is_held(root) else None
        if holder:
            if holder.get("run") != run or holder.get("writers") != writers:
                raise StoreLockedError(
                    f"{root} is held by process {holder.get('pid')} for run {holder.get('run')!r} with "
                    f"{holder.get('writers')} writers; this process wants run {run!r} with {writers}"
                )
            if holder.get("ready"):
                return
        if time.monotonic() > until:
            raise StoreLockedError(
                f"{root}: writer 0 of run {run!r} has not opened the store; open it there first"
            )
        time.sleep(0.02)
