"""What a reader keeps of one committed generation, and when it takes up the next."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from featstore.base import Base, open_log
from featstore.errors import FeatureStoreError, StoreFormatError
from featstore.files import FileOps
from featstore.layout import Commit, read_commit, read_header
from featstore.log import RowLog
from featstore.overlay import Overlay
from featstore.spec import FeatureSpec
from featstore.table_checks import check_ids
from featstore.videos import VideoTable

_LOAD_RETRIES = 50


class CommitFollower:
    """The commit that `FeatureStore` sees: sizes, video table, and the logs that are not yet in the base."""

    mode: str
    _commit: Commit
    _table: VideoTable
    _overlay: Overlay
    # Seconds [num_rows] that came with a video which is not yet in the base, by its position in the table.
    _new_times: dict[int, NDArray[np.float64]]

    def __init__(self, path: Path, files: FileOps) -> None:
        self.path = path
        self._files = files
        self._header = read_header(path)
        self._base = Base(path, self._header, files)
        self._base.check_folders()
        self._guard = threading.RLock()
        self._stamp: tuple[int, int] = (0, 0)
        self._places: dict[str, tuple[int, int]] = {}
        self._folder = os.stat(path).st_ino
        self._closed = False
        self._loaded = False
        self._follows = True  # a reader follows the commits of others; a writer makes its own

    # -- what the store is -----------------------------------------------------------------------------------

    @property
    def spec(self) -> FeatureSpec:
        """How the rows were first made."""
        return self._header.spec

    @property
    def generation(self) -> int:
        """Number of the last commit."""
        self._refresh()
        return self._commit.generation

    @property
    def run_id(self) -> str | None:
        """The run that refreshed this store; None: pristine extraction."""
        return self._commit.run_id

    @property
    def num_rows(self) -> int:
        """Rows that the last commit reserves for all videos, removed ones included."""
        return self._commit.num_rows

    @property
    def uncommitted_rows(self) -> int:
        """Rows in logs that no commit names: what live writers have written since the last one."""
        self._refresh()
        named = {entry.rows_file for entry in self._commit.logs}
        total = 0
        for path in (self.path / "log").glob("*.rows"):
            if f"log/{path.name}" not in named:
                try:
                    total += path.stat().st_size // self.spec.row_bytes
                except FileNotFoundError:  # committed meanwhile
                    continue
        return total

    def _load(self) -> None:
        """Take the last commit from disk; where a log vanishes meanwhile there is a newer one: look again."""
        for attempt in range(_LOAD_RETRIES):
            stamp = self._read_stamp()
            folder = os.stat(self.path).st_ino
            if folder != self._folder:  # compacted: another folder stands here now
                self._base.close()
                self._header, self._folder = read_header(self.path), folder
            commit = read_commit(self.path)
            logs: list[RowLog] = []
            try:
                table = self._base.load_table(commit)
                times: dict[int, NDArray[np.float64]] = {}
                for entry in commit.logs:  # committed, but not yet in the base
                    changes, log = open_log(self.path, entry, self.spec.row_bytes, commit)
                    logs += [log] if log else []
                    for change in changes:
                        table.change(change)
                        times.update(change.given_times())
                check_ids(table, self.path)
            except StoreFormatError:
                for log in logs:
                    log.close()
                if attempt == _LOAD_RETRIES - 1 or self._read_stamp() == stamp:
                    raise
                time.sleep(0.01)
                continue
            if self._loaded:
                self._overlay.close()
            self._loaded = True
            self._commit, self._table, self._stamp, self._new_times = commit, table, stamp, times
            self._overlay = Overlay(logs, commit.num_rows, self.spec.numpy_dtype)
            self._places.clear()
            if self._read_stamp() == stamp:
                return
        raise StoreFormatError(f"{self.path}: commits follow each other faster than they can be read")

    def _read_stamp(self) -> tuple[int, int]:
        """Which commit.json is there: its inode and time; zeros where none can be looked at."""
        try:
            status = os.stat(self._commit_path)
        except OSError:  # `read_commit` says why
            return (0, 0)
        return status.st_ino, status.st_mtime_ns

    @property
    def _commit_path(self) -> str:
        return f"{self.path}/commit.json"

    def _unchanged(self) -> bool:
        """Whether what was just read is of one generation: the base changes after commit.json only."""
        return not self._follows or self._read_stamp() == self._stamp

    def _refresh(self) -> None:
        """Take up a newer commit, where this is a reader; FeatureStoreError when the store was closed."""
        if self._closed:
            raise FeatureStoreError(f"the store {self.path} was closed")
        if self._follows and self._read_stamp() != self._stamp:
            with self._guard:
                self._load()

    def close(self) -> None:
        """Let go of maps and files; a second call does nothing."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._overlay.close()
                self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> None:
        raise TypeError("a feature store is not pickled: pass its path and open it in the other process")
