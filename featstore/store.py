"""The public interface: FeatureStore, the long memory on disk.

The class is put together from the bottom up, one file per step: one commit, and when the next is taken up
(`following.py`); reads (`reading.py`); transactions (`commits.py`); changes of videos (`editing.py`);
writes of rows (`writing.py`). What looks after a whole store stands beside it: `staleness.py`,
`verify.py`, `transfer.py`, `rebuild.py`.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Self

import pandas as pd

from featstore.errors import StoreValueError
from featstore.files import FileOps, disk_errors
from featstore.layout import CHUNK_BYTES, create_folder, make_header
from featstore.locking import WriterLock, await_first_writer
from featstore.spec import FeatureSpec
from featstore.staleness import staleness
from featstore.transfer import copy_store
from featstore.verify import failing_rows, mend_chunks, stretches
from featstore.videos import COMPLETE
from featstore.writing import WritingStore

_OPEN: weakref.WeakSet[FeatureStore] = weakref.WeakSet()


class FeatureStore(WritingStore):
    """Rows of many videos in one memory-mapped Zarr store, with a ledger, commits and recovery.

    Threads of one process may share a store. A forked child may read it, not write it.
    """

    def __init__(
        self,
        path: Path,
        mode: str,
        run: str | None,
        writer: int,
        writers: int,
        files: FileOps,
        join_timeout_s: float,
        commit_prepared: bool,
    ) -> None:
        super().__init__(path, files)
        self.mode, self.run, self.writer, self.writers = mode, run, writer, writers
        self._lock: WriterLock | None = None
        self._write_places = {}
        self._dtype, self._channels = self.spec.numpy_dtype, self.spec.channels
        if mode == "r":
            self._load()
            return
        if writer:
            await_first_writer(path, run, writers, join_timeout_s)
        self._lock = WriterLock(path, writer, writers, run)
        try:
            self._start_writing(commit_prepared)
        except BaseException:
            self._lock.release()
            self._base.close()
            raise
        self._lock.ready()
        _OPEN.add(self)

    @classmethod
    def create(
        cls, path: str | Path, spec: FeatureSpec, run: str | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> Self:
        """Make a new, empty store and open it for writing.

        Parameters
        ----------
        path
            Where it is to stand.
        spec
            How its rows are made.
        run
            Name of the run that writes, as in `open`.
        chunk_bytes
            Least size of a chunk file of features.

        Raises
        ------
        StoreExistsError
            Something stands at the path.
        """
        create_folder(Path(path), make_header(spec, chunk_bytes), FileOps())
        return cls.open(path, mode="r+", run=run)

    @classmethod
    def open(
        cls,
        path: str | Path,
        mode: str = "r",
        run: str | None = None,
        writer: int = 0,
        writers: int = 1,
        files: FileOps | None = None,
        join_timeout_s: float = 60.0,
        commit_prepared: bool = False,
    ) -> Self:
        """Open a store.

        Parameters
        ----------
        path
            Where it stands.
        mode
            "r" for reading: the last commit, followed as others commit; "r+" for writing.
        run
            Name of the run that writes; a store refreshed by one run refuses another.
        writer, writers
            This process's number among those of the run, and how many there are. Writer 0 opens first, as it
            recovers; the others wait for it.
        files
            The door to the disk; None: the system's.
        join_timeout_s
            How long another writer waits for writer 0, in seconds.
        commit_prepared
            Writer 0 commits what all writers had prepared before they died (`featstore.prepared.standing`);
            otherwise it is discarded.

        Raises
        ------
        StoreNotFoundError
            Nothing stands at the path.
        StoreFormatError
            What stands there is not a store, of a newer format, or damaged.
        StoreLockedError
            A live process writes to it, another run has refreshed it, or writer 0 does not come.
        StoreValueError
            Arguments that make no sense together.
        """
        if mode not in ("r", "r+"):
            raise StoreValueError(f"mode must be 'r' or 'r+', not {mode!r}")
        if not 0 <= writer < writers:
            raise StoreValueError(f"writer {writer} of {writers}: the number must lie in 0 .. {writers - 1}")
        if writers > 1 and run is None and mode == "r+":
            raise StoreValueError("several writers need the same run=NAME, so that no others can join")
        files = files or FileOps()
        return cls(Path(path), mode, run, writer, writers, files, join_timeout_s, commit_prepared)

    # -- looking after the store: the work is done in modules of their own -----------------------------------

    def __repr__(self) -> str:
        """What is known without a look at the disk: a repr neither waits nor fails."""
        where = f"{type(self).__name__}({str(self.path)!r}, {self.mode}"
        if self._closed or not self._loaded:
            return f"{where}, {'closed' if self._closed else 'opening'})"
        counts = self._table.records["num_rows"][self._table.records["state"] == COMPLETE]
        rows, spec = int(counts.sum()), self.spec
        return (
            f"{where}: {len(counts):,} complete videos, {rows:,} rows of {spec.channels} {spec.dtype} "
            f"({rows * spec.row_bytes / 1e6:,.1f} MB), {spec.encoder}, generation {self._commit.generation})"
        )

    def staleness(self, now_step: int | None = None, by: str = "video") -> pd.DataFrame:
        """Age of the rows as a table.

        Parameters
        ----------
        now_step
            Optimizer step to count from; None: the newest in the ledger.
        by
            "video", "clip" or "row".

        Returns
        -------
        DataFrame
            `featstore.staleness.staleness` describes the columns.
        """
        return staleness(self, now_step, by)

    def verify(self, sample: float = 1.0, seed: int = 0) -> pd.DataFrame:
        """Rows whose checksum fails.

        Parameters
        ----------
        sample
            Share of the videos to look at, above 0 and at most 1.
        seed
            Chooses which.

        Returns
        -------
        DataFrame
            video, row, problem; empty: sound.
        """
        return failing_rows(self, sample, seed)

    def damaged_rows(self) -> pd.DataFrame:
        """Stretches to extract again: video, start_row, stop_row; empty: sound."""
        return stretches(self.verify())

    @disk_errors
    def copy_to(self, path: str | Path, run_id: str | None = None) -> Path:
        """Copy the last commit to a new path; the two share blocks where the file system can.

        Parameters
        ----------
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
            Something stands at the path.
        StoreWriteError
            The disk has too little space; nothing is left behind.
        """
        return copy_store(self, Path(path), run_id)

    @disk_errors
    def mend_chunks(self) -> list[str]:
        """Give missing or cut chunk files their full size (zeros); `verify` then lists the lost rows.

        Returns
        -------
        list of str
            Paths of the files.
        """
        with self._guard:
            self._check_writing()
            return mend_chunks(self)

    def close(self) -> None:
        """Drop what is neither committed nor prepared, release the lock; a second call does nothing."""
        with self._guard:
            if self._closed:
                return
            if self._lock is not None and not self._forked:
                if self._marked:
                    self._log.close()  # others may commit: the next opening discards this, or makes up for it
                else:
                    self._drop_logs()
            super().close()
            if self._lock is not None:
                self._lock.release() if not self._forked else self._lock.abandon()
            _OPEN.discard(self)


def _after_fork_in_child() -> None:
    # The child shares the lock's file description: holding it open would outlive the parent.
    for store in list(_OPEN):
        store.note_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
