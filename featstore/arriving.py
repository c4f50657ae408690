"""A store that arrives: built beside its path, each row held against its checksum."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.base import Base
from featstore.errors import StoreFormatError, StoreWriteError
from featstore.files import FileOps
from featstore.layout import LEDGER, Commit, Header, create_folder, write_commit
from featstore.log import FROM_A_COPY
from featstore.snapshot import take_sound
from featstore.table_checks import check_ids, check_records
from featstore.videos import VideoTable

_SYNC_BYTES = 512 << 20


class ArrivingStore:
    """A new folder of a store, filled from rows, ledger and video table of another place.

    Parameters
    ----------
    folder
        Where nothing stands, as `transfer.building` gives it.
    header
        What the rows are, and chunk sizes.
    commit
        The commit to arrive at, applied.
    records, text
        The video table: [videos] of dtype VIDEO, and the ids' UTF-8 bytes.
    source
        Where they come from, for messages.

    Raises
    ------
    StoreFormatError
        The table does not fit the commit, or an id could lead out of a folder.
    StoreWriteError
        The disk has too little space.
    """

    def __init__(
        self, folder: Path, header: Header, commit: Commit, records: NDArray[Any], text: bytes, source: str
    ) -> None:
        self.folder, self.commit, self._source = folder, commit, source
        if len(records) != commit.num_videos or len(text) != commit.text_bytes:
            raise StoreFormatError(f"{source}: the video table has another size than promised: {FROM_A_COPY}")
        check_records(records, commit.text_bytes, commit.num_rows, Path(source))
        check_ids(VideoTable(records.copy(), text), Path(source))
        needed = commit.num_rows * (header.spec.row_bytes + LEDGER.itemsize)
        free = shutil.disk_usage(folder.parent).free
        if needed > free:
            raise StoreWriteError(
                errno.ENOSPC,
                f"{folder.parent} has {free >> 20} MiB free, the store of {source} needs {needed >> 20} MiB",
            )
        self._files = FileOps()
        create_folder(folder, header, self._files)
        self._base = Base(folder, header, self._files)
        self._base.reserve_rows(0, commit.num_rows)
        self._base.reserve_videos(0, len(records), 0, len(text))
        for name, array in self._base.videos.items():
            array.put(0, np.ascontiguousarray(records[name]))
        self._base.text.put(0, np.frombuffer(text, np.uint8))
        self._unsynced = 0

    def put(self, start: int, rows: NDArray[Any], ledger: NDArray[Any]) -> None:
        """Take rows [n, C] and ledger entries [n] of the flat array, from `start` on.

        Raises
        ------
        StoreFormatError
            A row is not the one that its checksum was made of.
        """
        failing = take_sound(rows, ledger)
        if len(failing):
            raise StoreFormatError(
                f"{self._source}: {len(failing)} of rows [{start}, {start + len(rows)}) fail their checksum "
                f"(first: {start + int(failing[0])}): send it again from the store it was made of"
            )
        self._base.features.put(start, rows)
        for name, array in self._base.ledger.items():
            array.put(start, np.ascontiguousarray(ledger[name]))
        self._unsynced += rows.nbytes
        if self._unsynced > _SYNC_BYTES:  # else all of it waits in memory for the last sync
            self._sync()

    def _sync(self) -> None:
        for array in self._base.arrays:
            array.sync()
        self._unsynced = 0

    def finish(self) -> None:
        """Make all of it durable, and write the commit."""
        self._sync()
        self._base.write_shapes(self.commit)
        write_commit(self._files, self.folder, self.commit)

    def close(self) -> None:
        """Let go of files."""
        self._base.close()
