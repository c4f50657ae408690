"""The writing half's transactions: start, prepare, commit, adopt, roll back."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np

from featstore.errors import FeatureStoreError, StoreLockedError
from featstore.files import disk_errors
from featstore.layout import VIDEO, Commit, LogEntry, read_commit, write_commit
from featstore.locking import WriterLock
from featstore.log import Change, LogWriter
from featstore.overlay import Overlay
from featstore.prepared import Marker, marker_path, read_marker, read_prepared, write_marker
from featstore.reading import StoreReader

_POLL_S = 0.005


class CommittingStore(StoreReader):
    """Commits of `FeatureStore`; kept apart so that the order of writes and syncs can be read on one page."""

    run: str | None
    writer: int
    writers: int
    _log: LogWriter
    _lock: WriterLock | None
    _write_places: dict[str, tuple[int, int]]  # as _places, for videos that this process may write

    _prepared: LogEntry | None = None
    _marked = False  # a marker on the disk says so: what dies now leaves a commit that can be made up for
    _forked = False
    _refreshed = False
    recovered: dict[str, Any] | None = None  # the dead holder whose lock was taken over, if any

    def _start_writing(self, commit_prepared: bool) -> None:
        """Recover (writer 0), take the last commit, start an empty log."""
        assert self._lock is not None
        self.recovered = self._lock.dead_holder
        if self.writer == 0:
            prepared = read_prepared(self.path) if commit_prepared else None
            commit = prepared or read_commit(self.path)
            if commit.run_id is not None and commit.run_id != self.run:
                raise StoreLockedError(
                    f"{self.path} was refreshed by run {commit.run_id!r} and serves only that run; "
                    f"this is run {self.run!r}: open it with that run's name, or start from a fresh copy"
                )
            if prepared is not None:
                write_commit(self._files, self.path, prepared)
            if not commit.applied:
                self._base.apply(commit, check=True)
            self._base.remove_stray_logs()
        self._new_owners: dict[int, int] = {}
        self._follows = False
        self._restart()
        if self.writer:
            self._unlink_own()  # of a predecessor that died
        self._rows_reserved = self._commit.num_rows
        self._videos_reserved, self._text_reserved = self._commit.num_videos, self._table.text_bytes

    def _restart(self) -> None:
        """Take the last commit from disk and start an empty log over it."""
        while self.writer and not read_commit(self.path).applied:  # writer 0 is at it
            time.sleep(_POLL_S)
        self._load()
        self._start_log()

    def _start_log(self) -> None:
        commit = self._commit
        self._log = LogWriter(self.path, commit.generation + 1, self.writer, self.spec.row_bytes, self._files)
        self._overlay = Overlay([self._log], commit.num_rows, self.spec.numpy_dtype)
        self._rows_end = commit.num_rows
        self._prepared, self._marked, self._refreshed = None, False, False
        self._new_owners.clear()
        self._new_times.clear()
        self._places.clear()
        self._write_places.clear()

    def _check_writing(self) -> None:
        """This process may write now; a writer that prepared takes up the commit made since."""
        if self._closed:
            raise FeatureStoreError(f"the store {self.path} was closed")
        if self._lock is None:
            raise FeatureStoreError(f"{self.path} is open for reading; open it with mode='r+' to write")
        if self._forked:
            raise FeatureStoreError(
                f"{self.path} was opened before a fork: only the parent process may write"
            )
        if not self._commit.applied:
            self._finish(self._commit)
        if self._prepared is not None and not self._adopt():
            raise FeatureStoreError(
                f"writer {self.writer} has prepared generation {self._commit.generation + 1}: "
                "writer 0 commits it now; write after that, or call rollback()"
            )

    # -- commit ------------------------------------------------------------------------------------------

    @disk_errors
    def prepare_commit(self) -> None:
        """Make this writer's log durable and ready to be committed.

        Then comes the caller's barrier, then `commit()` in writer 0; no writes in between. What all writers
        prepared outlives them: `open` discards it, or with ``commit_prepared`` commits it.

        Raises
        ------
        StoreWriteError
            The disk refused; nothing is committed, call `rollback()`.
        """
        with self._guard:
            self._check_writing()
            self._prepared = self._prepare()
            marker = Marker(
                generation=self._commit.generation + 1,
                writers=self.writers,
                run_id=self.run if self._refreshed else self._commit.run_id,
                num_rows=self._rows_end,
                num_videos=len(self._table),
                text_bytes=self._table.text_bytes,
                entry=self._prepared,
            )
            write_marker(self._files, self.path, self.writer, marker)
            self._marked = True

    def _prepare(self) -> LogEntry:
        if self._new_owners:
            indices = np.array(sorted(self._new_owners), np.int64)
            records = np.zeros(len(indices), VIDEO)
            records["owner"] = [self._new_owners[i] for i in indices.tolist()]
            self._log.change(Change(indices, records, owners_only=True))
        entry = self._log.sync()
        if not entry.empty:
            self._files.sync_dir(self.path / "log")
        return entry

    @disk_errors
    def commit(self, timeout_s: float = 600.0) -> int:
        """Make everything written since the last commit durable and visible.

        In writer 0 of several, every other writer must have prepared. Another writer waits for writer 0.

        Parameters
        ----------
        timeout_s
            How long another writer waits, in seconds.

        Returns
        -------
        int
            The new generation.

        Raises
        ------
        StoreWriteError
            The disk refused; the store is at the old generation or the new one, whole.
        FeatureStoreError
            A writer has not prepared, or writer 0 has not committed in time.
        """
        with self._guard:
            if self._prepared is None or self._closed:
                self._check_writing()
            if self.writer:
                return self._await_commit(timeout_s)
            if self._prepared is None:
                self._prepared = self._prepare()
            entries, refreshed = self._entries()
            before = self._commit
            commit = Commit(
                generation=before.generation + 1,
                num_rows=self._rows_end,
                num_videos=len(self._table),
                text_bytes=self._table.text_bytes,
                rows_before=before.num_rows,
                videos_before=before.num_videos,
                run_id=self.run if refreshed else before.run_id,
                committed_at=time.time(),
                applied=not entries,
                logs=entries,
            )
            try:
                write_commit(self._files, self.path, commit)  # <- the rename inside is the commit
            except OSError:
                # Renamed, but perhaps not durable: then the new state is the one on disk now.
                if read_commit(self.path).generation == commit.generation:
                    self._commit = commit
                elif self.writers == 1:
                    self._prepared = None  # nothing happened: writing may go on
                raise
            self._finish(commit)
            return commit.generation

    def _entries(self) -> tuple[tuple[LogEntry, ...], bool]:
        """All writers' logs of this commit."""
        assert self._prepared is not None
        entries, refreshed = [self._prepared], self._refreshed
        for writer in range(1, self.writers):
            marker = read_marker(self.path, writer)
            if marker is None or marker.generation != self._commit.generation + 1:
                raise FeatureStoreError(
                    f"writer {writer} has not called prepare_commit() for generation "
                    f"{self._commit.generation + 1}: first every writer prepares, then comes a barrier, "
                    "then writer 0 commits"
                )
            entries.append(marker.entry)
            refreshed = refreshed or marker.run_id == self.run
        return tuple(e for e in entries if not e.empty), refreshed

    def _finish(self, commit: Commit) -> None:
        """Bring a commit that stands into the base; a failure here loses nothing and is tried again later."""
        self._commit = commit
        if not commit.applied:
            commit = self._base.apply(commit, check=False)
        for writer in range(self.writers if self._marked or self.writers > 1 else 0):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(marker_path(self.path, writer))
        self._log.close()
        if any(entry.writer for entry in self._commit.logs):
            self._restart()  # other writers changed the table too
            return
        table = self._table
        for index, owner in self._new_owners.items():
            table.records["owner"][index] = owner
        self._commit = commit
        self._start_log()

    def _adopt(self) -> bool:
        """After prepare: take up writer 0's commit once it stands and is in the base."""
        if self.writer == 0:
            return False
        commit = read_commit(self.path)
        if commit.generation == self._commit.generation or not commit.applied:
            return False
        self._log.close()
        self._restart()
        return True

    def _await_commit(self, timeout_s: float) -> int:
        if self._prepared is None:
            if self._log.empty:
                return self._commit.generation
            raise FeatureStoreError(f"writer {self.writer}: call prepare_commit() first; writer 0 commits")
        until = time.monotonic() + timeout_s
        while not self._adopt():
            if time.monotonic() > until:
                raise FeatureStoreError(f"writer 0 has not committed within {timeout_s:g} s; is it alive?")
            time.sleep(_POLL_S)
        return self._commit.generation

    # -- undo --------------------------------------------------------------------------------------------

    def rollback(self) -> None:
        """Drop everything since the last commit: rows, new videos, states, ownership."""
        with self._guard:
            if self._lock is None or self._forked or self._closed:
                self._check_writing()
            if not self._commit.applied:
                self._finish(self._commit)
                return
            if self._prepared is not None and self._adopt():
                return
            self._drop_logs()
            self._restart()

    def _drop_logs(self) -> None:
        self._log.close()
        if not self._commit.applied:
            return  # committed: recovery needs it
        self._unlink_own()

    def _unlink_own(self) -> None:
        """Remove this writer's log files: garbage, which the next recovery would remove too."""
        for path in (*self._log.paths, marker_path(self.path, self.writer)):
            with contextlib.suppress(OSError):
                self._files.unlink(path)

    def note_fork(self) -> None:
        """In a forked child: let go of the lock's copy; from here on this store only reads."""
        self._forked = True
        if self._lock is not None:
            self._lock.abandon()
