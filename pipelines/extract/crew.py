"""Several processes extract into one store: who is there, whose turn it is, who has which video.

Every answer is an `flock`, which the system drops when its holder dies, however it dies. Rows do not go
straight into the store, whose one writer would keep the others waiting: a process collects those of a
video in a file of its own (`spool`), and whoever has its turn puts all finished ones into the store.

    STORE/log/lock.extract    whose turn it is to write to the store; held for moments
    STORE/extract/members     shared by all processes of the crew; the last to leave clears the folder up
    STORE/extract/*.part      a video that is being extracted, locked by the process that does it
    STORE/extract/*.done      an extracted video on its way into the store
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featstore import FeatureStore, StoreLockedError, VideoRecord
from featstore.locking import no_locks
from pipelines.extract.spool import Spool, done_path, finished, part_path, put
from pipelines.shared import console

_POLL_S = 0.02
_SAY_AFTER_S = 2.0
# Others than extractions write to the store for moments too (`longtal store …`).
_STORE_BUSY_S = 60.0


class Crew:
    """This process among those that extract into a store; a context manager.

    Attributes
    ----------
    first
        no other process was at work when this one came: it looks after what earlier runs left.
    """

    def __init__(self, store: Path) -> None:
        self.path = store
        self.folder = store / "extract"
        self._members = -1
        self.first = False

    def __enter__(self) -> Crew:
        with self._turn():
            self.folder.mkdir(exist_ok=True)
            self._members = _open(self.folder / "members")
            self.first = _lock(self._members, fcntl.LOCK_EX)
            if not self.first:
                console.log.info("%s: other processes extract into it already; this one joins", self.path)
            # only who has the turn asks for it alone, so nobody slips in while the lock changes
            _lock(self._members, fcntl.LOCK_SH)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self._turn():
                if _lock(self._members, fcntl.LOCK_EX) and not finished(self.folder):
                    shutil.rmtree(self.folder)
        finally:
            os.close(self._members)

    @contextmanager
    def writing(self, wait_s: float = _STORE_BUSY_S) -> Iterator[FeatureStore]:
        """The store open for writing, in this process's turn; what is left uncommitted is dropped.

        Raises
        ------
        StoreLockedError
            something that is not an extraction has it for longer than ``wait_s``.
        """
        with self._turn():
            until = time.monotonic() + wait_s
            while True:
                try:
                    store = FeatureStore.open(self.path, mode="r+")
                    break
                except StoreLockedError:
                    if time.monotonic() >= until:
                        raise
                    time.sleep(0.5)
            with store:
                yield store

    @contextmanager
    def _turn(self) -> Iterator[None]:
        lock = _open(self.path / "log" / "lock.extract")
        try:
            asked = time.monotonic()
            said = False
            while not _lock(lock, fcntl.LOCK_EX):
                if not said and time.monotonic() - asked > _SAY_AFTER_S:
                    console.log.info("%s: waiting for another process's turn at the store", self.path)
                    said = True
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(lock)

    # -- videos
    # ------------------------------------------------------------------------------------------------

    def claim(self, record: VideoRecord, store: FeatureStore) -> Spool | None:
        """The file for a video's rows; None while another process is at it.

        Check `is_done` when it is there: another process may have been through with it just before.
        """
        path = part_path(self.folder, record.id)
        descriptor = _open(path)
        if _lock(descriptor, fcntl.LOCK_EX) and _is(descriptor, path):
            if os.fstat(descriptor).st_size:
                console.log.info("video %s: its process died in the middle; begun again", record.id)
            return Spool(path, descriptor, record, store.spec.numpy_dtype)
        os.close(descriptor)
        return None

    def is_done(self, record: VideoRecord, store: FeatureStore) -> bool:
        """Whether a process is through with a video that nobody has claimed."""
        # in this order: a file that is gone was committed before
        return done_path(self.folder, record.id).exists() or store.video(record.id).state != "reserved"

    def deliver(self) -> int:
        """Put all finished videos, whoever extracted them, into the store, and commit; how many."""
        if not finished(self.folder):
            return 0
        with self.writing() as store:
            return deliver(store, self.folder)


def deliver(store: FeatureStore, folder: Path) -> int:
    """Finished videos of a folder into the store, in one commit; then their files go."""
    paths = finished(folder)
    if not paths:
        return 0
    taken = sum(put(store, path) for path in paths)
    store.commit()
    for path in paths:
        path.unlink()
    return taken


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise no_locks("the store", error) from error
        return False
    return True


def _is(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name: the holder before may have renamed or removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
