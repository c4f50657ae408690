"""Write-ahead logs: what a writer has written since the last commit.

LOG.rows     slots of one row each, from the first byte on (aligned writes cost a third less). A row written
             again before the commit takes its old slot, so a log is never longer than its rows.
LOG.journal  records, appended: kind, checksum, length, payload. Changes of the video table are written when
             they are made, the ledger entries of all slots when a commit is prepared.

Both are garbage unless commit.json names them, with the number of slots and bytes that count.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from featstore.documents import open_regular, why
from featstore.errors import FeatureStoreError, StoreFormatError
from featstore.files import FileOps
from featstore.layout import VIDEO, LogEntry

_RECORD = struct.Struct("<4sIQ")  # kind, crc32c of the payload, its length
_CHANGE, _ENTRIES = b"CHNG", b"ENTR"
# records, first byte of text, bytes of text, bytes of seconds, owners only
_CHANGE_HEAD = struct.Struct("<QqQQQ")
_BLOCK_BYTES = 8 << 20
FROM_A_COPY = "restore the store from a copy"

# Which row a slot holds, and what the ledger is to say about it.
ENTRY = np.dtype(
    [("row", "<i8"), ("step", "<i8"), ("written_at", "<f8"), ("writes", "<u4"), ("crc32c", "<u4")]
)

crc32c = google_crc32c.value


def row_sums(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """crc32c of each row [n, C], rows contiguous."""
    return np.fromiter(map(crc32c, rows), np.uint32, len(rows))


def log_names(generation: int, writer: int) -> tuple[str, str]:
    """A writer's files for a generation, relative to the store's folder: rows, journal."""
    stem = f"log/{generation:08d}.{writer:03d}"
    return f"{stem}.rows", f"{stem}.journal"


def runs(*keys: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches [i, j) over which every key goes up by one."""
    count = len(keys[0])
    if count == 0:
        return []
    breaks = np.zeros(count - 1, bool)
    for key in keys:
        breaks |= np.diff(key) != 1
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), count]
    return list(itertools.pairwise(edges))


@dataclass
class Change:
    """Records put into the video table; rows [first_row, first_row + n) of new videos get their seconds."""

    indices: NDArray[np.int64]
    records: NDArray[Any]
    text_start: int = 0
    text: bytes = b""
    times: bytes = b""  # float64 seconds of the videos with given_times, one after another
    owners_only: bool = False  # put the column `owner` and no other; without it: every other column

    def pack(self) -> bytes:
        """The payload of a journal record."""
        head = _CHANGE_HEAD.pack(
            len(self.indices), self.text_start, len(self.text), len(self.times), self.owners_only
        )
        return b"".join(
            (head, self.indices.astype("<i8").tobytes(), self.records.tobytes(), self.text, self.times)
        )

    def given_times(self) -> dict[int, NDArray[np.float64]]:
        """Seconds of the videos that came with them, by position in the table."""
        seconds, at = {}, 0
        for index, record in zip(self.indices.tolist(), self.records, strict=True):
            if self.times and record["given_times"]:
                count = int(record["reserved_rows"])
                seconds[index] = np.frombuffer(self.times, "<f8", count, at)
                at += count * 8
        return seconds

    @classmethod
    def unpack(cls, payload: bytes) -> Change:
        """The inverse of `pack`; ValueError, OverflowError or struct.error where it is something else."""
        count, text_start, text_bytes, times_bytes, owners_only = _CHANGE_HEAD.unpack_from(payload)
        at = _CHANGE_HEAD.size
        indices = np.frombuffer(payload, "<i8", count, at)
        at += indices.nbytes
        records = np.frombuffer(payload, VIDEO, count, at)
        at += records.nbytes
        text = payload[at : at + text_bytes]
        times = payload[at + text_bytes : at + text_bytes + times_bytes]
        if at + text_bytes + times_bytes != len(payload):
            raise ValueError("the parts of a change are not as long as it says")
        return cls(indices, records, text_start, text, times, bool(owners_only))


class RowLog:
    """A log's rows, open for reading, and the ledger entries that say which rows they are.

    Parameters
    ----------
    path
        The .rows file.
    row_bytes
        Bytes of a slot.
    entries
        Array [slots] of dtype ENTRY.
    count
        Slots in use.
    fd
        The open file; -1: there is none yet.
    """

    def __init__(self, path: Path, row_bytes: int, entries: NDArray[Any], count: int, fd: int) -> None:
        self.path, self.row_bytes, self.entries, self.count, self.fd = path, row_bytes, entries, count, fd

    @classmethod
    def open(cls, path: Path, row_bytes: int, entries: NDArray[Any]) -> RowLog:
        """Open a committed log; StoreFormatError when the file is missing or too short for its entries."""
        try:
            fd = open_regular(path)
        except FileNotFoundError as error:
            raise StoreFormatError(f"committed log {path} is missing: {FROM_A_COPY}") from error
        except OSError as error:
            raise StoreFormatError(f"committed log {path} cannot be read: {why(error)}") from error
        if os.fstat(fd).st_size < len(entries) * row_bytes:
            os.close(fd)
            raise StoreFormatError(f"committed log {path} is cut: {FROM_A_COPY}")
        return cls(path, row_bytes, entries, len(entries), fd)

    def blocks(self, dtype: np.dtype[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """All rows, a bounded number of bytes at a time: (first slot, rows [n, C])."""
        step = max(1, _BLOCK_BYTES // self.row_bytes)
        for start in range(0, self.count, step):
            rows = np.empty((min(step, self.count - start), self.row_bytes // dtype.itemsize), dtype)
            self.read_into(start, rows)
            yield start, rows

    def read_into(self, slot: int, out: NDArray[Any]) -> None:
        """Fill out, C-contiguous [n, C], from slots slot, slot + 1, ...; StoreFormatError for a cut file."""
        offset = slot * self.row_bytes
        done = os.preadv(self.fd, [out.data], offset)
        while done < out.nbytes:
            count = os.preadv(self.fd, [out.reshape(-1).view(np.uint8)[done:].data], offset + done)
            if count == 0:
                raise StoreFormatError(f"log {self.path} ends early: another process has cut it")
            done += count

    def damaged(self, dtype: np.dtype[Any]) -> NDArray[np.int64]:
        """Slots whose row does not have the checksum of its entry."""
        bad: list[int] = []
        for start, rows in self.blocks(dtype):
            sums = self.entries["crc32c"][start : start + len(rows)]
            bad.extend((start + np.flatnonzero(row_sums(rows) != sums)).tolist())
        return np.array(bad, np.int64)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class LogWriter(RowLog):
    """A writer's own log since the last commit; its files appear with the first write.

    Parameters
    ----------
    root
        The store's folder.
    generation
        Number of the commit that it is for.
    writer
        Number of the writer.
    row_bytes
        Bytes of a slot.
    files
        The door to the disk.
    """

    def __init__(self, root: Path, generation: int, writer: int, row_bytes: int, files: FileOps) -> None:
        names = log_names(generation, writer)
        super().__init__(root / names[0], row_bytes, np.zeros(256, ENTRY), 0, -1)
        self._names = names
        self._journal_path = root / names[1]
        self._writer = writer
        self._files = files
        self._journal_fd = -1
        self._journal_bytes = 0
        self.torn = False  # a slot in use may hold half a row: only a rollback helps

    @property
    def empty(self) -> bool:
        return self.count == 0 and self._journal_bytes == 0

    @property
    def paths(self) -> tuple[Path, Path]:
        return self.path, self._journal_path

    def append(self, rows: NDArray[Any]) -> int:
        """Append rows with one write.

        Parameters
        ----------
        rows
            Array [n, C] of the store's dtype, C-contiguous.

        Returns
        -------
        int
            The slot of the first row.

        Raises
        ------
        OSError
            The disk refused; nothing counts as written.
        """
        if self.fd < 0:
            self._start_rows()
        first, count = self.count, len(rows)
        self._files.pwrite(self.fd, rows, first * self.row_bytes)
        self.count = first + count
        if self.count > len(self.entries):
            grown = np.zeros(max(self.count, 2 * len(self.entries)), ENTRY)
            grown[:first] = self.entries[:first]
            self.entries = grown
        return first

    def _start_rows(self) -> None:
        fd = self._files.open(self.path, create=True)
        try:
            self._files.truncate(fd, 0)
        except OSError:
            self._files.close(fd)
            raise
        self.fd = fd

    def rewrite(self, first: int, rows: NDArray[Any]) -> None:
        """Write rows [n, C] over slots in use; on OSError the log is torn, and only a rollback helps."""
        try:
            self._files.pwrite(self.fd, rows, first * self.row_bytes)
        except OSError:
            self.torn = True
            raise

    def change(self, change: Change) -> None:
        """Append a change of the video table to the journal."""
        self._record(_CHANGE, change.pack())

    def _record(self, kind: bytes, payload: bytes) -> None:
        if self._journal_fd < 0:
            fd = self._files.open(self._journal_path, create=True)
            try:
                self._files.truncate(fd, 0)
            except OSError:
                self._files.close(fd)
                raise
            self._journal_fd = fd
        data = _RECORD.pack(kind, crc32c(payload), len(payload)) + payload
        self._files.pwrite(self._journal_fd, data, self._journal_bytes)
        self._journal_bytes += len(data)

    def sync(self) -> LogEntry:
        """Write the ledger entries and make both files durable; their names need a sync of the folder.

        Returns
        -------
        LogEntry
            How much of the files counts, for commit.json.

        Raises
        ------
        FeatureStoreError
            A write over a slot, or a sync, failed since the last commit.
        OSError
            The disk refused.
        """
        if self.torn:
            raise FeatureStoreError(
                "a write failed half-way since the last commit: call rollback(), then write again"
            )
        if self.count:
            self._record(_ENTRIES, self.entries[: self.count].tobytes())
        try:
            if self.fd >= 0:
                self._files.sync(self.fd)
            if self._journal_fd >= 0:
                self._files.sync(self._journal_fd)
        except OSError:
            # After a failed sync the system may have dropped the pages: a second sync would succeed and lie.
            self.torn = True
            raise
        return LogEntry(self._writer, self._names[0], self.count, self._names[1], self._journal_bytes)

    def close(self) -> None:
        super().close()
        if self._journal_fd >= 0:
            os.close(self._journal_fd)
            self._journal_fd = -1


def read_journal(path: Path, length: int) -> tuple[list[Change], NDArray[Any]]:
    """Read what is committed of a journal.

    Parameters
    ----------
    path
        The .journal file.
    length
        Bytes that count.

    Returns
    -------
    tuple
        Changes of the video table, in order, and the ledger entries [slots] of the log's rows.

    Raises
    ------
    StoreFormatError
        The file is missing, too short, or a record fails its checksum.
    """
    changes: list[Change] = []
    entries = np.zeros(0, ENTRY)
    data = _read_first(path, length) if length else b""
    at = 0
    while at < length:
        kind, check, size = _RECORD.unpack_from(data[at : at + _RECORD.size].ljust(_RECORD.size, b"\0"))
        payload = data[at + _RECORD.size : at + _RECORD.size + size]
        if kind not in (_CHANGE, _ENTRIES) or len(payload) != size or crc32c(payload) != check:
            raise StoreFormatError(f"committed log {path} is damaged at byte {at}: {FROM_A_COPY}")
        try:
            if kind == _CHANGE:
                changes.append(Change.unpack(payload))
            else:  # a commit that was prepared again counts as prepared last
                entries = np.frombuffer(payload, ENTRY)
        except (ValueError, OverflowError, struct.error) as error:
            raise StoreFormatError(f"committed log {path} is damaged at byte {at}: {FROM_A_COPY}") from error
        at += _RECORD.size + size
    return changes, entries


def _read_first(path: Path, length: int) -> bytes:
    """The first bytes of a journal, fewer where it is shorter."""
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(min(length, os.fstat(file.fileno()).st_size))
    except FileNotFoundError as error:
        raise StoreFormatError(f"committed log {path} is missing: {FROM_A_COPY}") from error
    except OSError as error:
        raise StoreFormatError(f"committed log {path} cannot be read: {why(error)}") from error
