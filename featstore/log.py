"""Write-ahead logs: what a writer has written since the last commit.

LOG.rows     64-byte head, then slots of fixed size: the row's ledger entry, a checksum of that entry, the row.
             A row written again before the commit takes its old slot, so a log is never longer than its rows.
LOG.changes  changes of the video table, appended: length, checksum, payload.

Both are garbage unless commit.json names them, with the number of slots and bytes that count.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from featstore.errors import FeatureStoreError, StoreFormatError
from featstore.files import FileOps
from featstore.layout import VIDEO, LogEntry

_ROWS_MAGIC = b"LTROWS1\n"
_HEAD = struct.Struct("<8sIIqI")  # magic, slot bytes, writer, generation, crc32c of what stands before
_HEAD_BYTES = 64
_CHANGE = struct.Struct("<IIQ")  # magic, crc32c of the payload, its length
_CHANGE_HEAD = struct.Struct("<QqQQQ")
_CHANGE_MAGIC = 0x4C544348
_BLOCK_BYTES = 8 << 20

# The entry of a slot; `check` is the crc32c of the fields before it.
ENTRY = np.dtype(
    [
        ("row", "<i8"),
        ("step", "<i8"),
        ("written_at", "<f8"),
        ("writes", "<u4"),
        ("crc32c", "<u4"),
        ("check", "<u4"),
        ("unused", "<u4"),
    ]
)
_CHECKED = 32

crc32c = google_crc32c.value


def slot_dtype(dtype: np.dtype[Any], channels: int) -> np.dtype[Any]:
    """A slot: entry, row, padding to a multiple of 8 bytes."""
    size = ENTRY.itemsize + -(-dtype.itemsize * channels // 8) * 8
    return np.dtype(
        {
            "names": ["entry", "data"],
            "formats": [ENTRY, (dtype, (channels,))],
            "offsets": [0, ENTRY.itemsize],
            "itemsize": size,
        }
    )


def log_names(generation: int, writer: int) -> tuple[str, str]:
    stem = f"log/{generation:08d}.{writer:03d}"
    return f"{stem}.rows", f"{stem}.changes"


def runs(*keys: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches [i, j) over which every key goes up by one."""
    count = len(keys[0])
    if count == 0:
        return []
    breaks = np.zeros(count - 1, bool)
    for key in keys:
        breaks |= np.diff(key) != 1
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), count]
    return list(zip(edges[:-1], edges[1:], strict=True))


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
        head = _CHANGE_HEAD.pack(
            len(self.indices), self.text_start, len(self.text), len(self.times), self.owners_only
        )
        return b"".join(
            (head, self.indices.astype("<i8").tobytes(), self.records.tobytes(), self.text, self.times)
        )

    def given_times(self) -> dict[int, NDArray[np.float64]]:
        """Seconds of the videos that came with them, by position in the table."""
        found, at = {}, 0
        for index, record in zip(self.indices.tolist(), self.records, strict=True):
            if self.times and record["given_times"]:
                count = int(record["reserved_rows"])
                found[index] = np.frombuffer(self.times, "<f8", count, at)
                at += count * 8
        return found

    @classmethod
    def unpack(cls, payload: bytes) -> Change:
        count, text_start, text_bytes, times_bytes, owners_only = _CHANGE_HEAD.unpack_from(payload)
        at = _CHANGE_HEAD.size
        indices = np.frombuffer(payload, "<i8", count, at)
        at += indices.nbytes
        records = np.frombuffer(payload, VIDEO, count, at)
        at += records.nbytes
        text = payload[at : at + text_bytes]
        times = payload[at + text_bytes : at + text_bytes + times_bytes]
        return cls(indices, records, text_start, text, times, bool(owners_only))


class RowLog:
    """Slots of one log file, open for reading; entries are checked when the file is opened, rows by `damaged`."""

    def __init__(
        self, path: Path, slots: NDArray[Any] | None, dtype: np.dtype[Any], count: int, fd: int
    ) -> None:
        self.path = path
        self.dtype = dtype
        self.fd = fd
        self.count = count
        self.entries = slots if slots is not None else np.zeros(0, ENTRY)

    @classmethod
    def open(cls, path: Path, dtype: np.dtype[Any], count: int) -> RowLog:
        """Read and check the entries of the first `count` slots; StoreFormatError when torn or damaged."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise StoreFormatError(
                f"committed log {path} is missing: restore the store from a copy"
            ) from error
        log = cls(path, None, dtype, count, fd)
        try:
            head = os.pread(fd, _HEAD_BYTES, 0)
            magic, slot_bytes, _, _, check = _HEAD.unpack_from(head.ljust(_HEAD_BYTES, b"\0"))
            if (
                magic != _ROWS_MAGIC
                or check != crc32c(head[: _HEAD.size - 4])
                or slot_bytes != dtype.itemsize
            ):
                raise StoreFormatError(
                    f"committed log {path} is damaged at its head: restore the store from a copy"
                )
            if os.fstat(fd).st_size < _HEAD_BYTES + count * dtype.itemsize:
                raise StoreFormatError(
                    f"committed log {path} is shorter than committed: restore the store from a copy"
                )
            entries = np.empty(count, ENTRY)
            for start, block in log.blocks():
                entries[start : start + len(block)] = block["entry"]
            log.entries = entries
            data = entries.tobytes()
            checks = [crc32c(data[i : i + _CHECKED]) for i in range(0, len(data), ENTRY.itemsize)]
            bad = np.flatnonzero(entries["check"] != np.array(checks, np.uint32))
            if len(bad):
                raise StoreFormatError(
                    f"committed log {path} is damaged in {len(bad)} of {count} slots: restore the store from a copy"
                )
        except StoreFormatError:
            os.close(fd)
            raise
        return log

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """(first slot, slots) of a bounded number of bytes each."""
        step = max(1, _BLOCK_BYTES // self.dtype.itemsize)
        for start in range(0, self.count, step):
            yield start, self.read_slots(start, min(self.count, start + step))

    def read_slots(self, start: int, stop: int) -> NDArray[Any]:
        buffer = np.empty(stop - start, self.dtype)
        view = buffer.view(np.uint8).reshape(-1).data
        offset, got = _HEAD_BYTES + start * self.dtype.itemsize, 0
        while got < len(view):
            n = os.preadv(self.fd, [view[got:]], offset + got)
            if n == 0:
                raise StoreFormatError(f"log {self.path} ends early: another process has cut it")
            got += n
        return buffer

    def damaged(self) -> NDArray[np.int64]:
        """Slots whose row does not have the checksum of its entry."""
        bad: list[int] = []
        for start, block in self.blocks():
            sums = np.array([crc32c(row) for row in block["data"]], np.uint32)
            bad.extend((start + np.flatnonzero(sums != block["entry"]["crc32c"])).tolist())
        return np.array(bad, np.int64)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class LogWriter(RowLog):
    """A writer's own logs since the last commit; files appear with the first write."""

    def __init__(
        self, root: Path, generation: int, writer: int, dtype: np.dtype[Any], files: FileOps
    ) -> None:
        names = log_names(generation, writer)
        super().__init__(root / names[0], np.zeros(256, ENTRY), dtype, 0, -1)
        self._names = names
        self._changes_path = root / names[1]
        self._writer, self._generation = writer, generation
        self._files = files
        self._changes_fd = -1
        self._changes_bytes = 0
        self.torn = False  # a slot in use may hold half a row: only a rollback helps

    @property
    def empty(self) -> bool:
        return self.count == 0 and self._changes_bytes == 0

    @property
    def paths(self) -> tuple[Path, Path]:
        return self.path, self._changes_path

    def append(self, slots: NDArray[Any]) -> int:
        """Append slots with one write; number of the first. On OSError nothing counts as written."""
        if self.fd < 0:
            fd = self._files.open(self.path, create=True)
            head = _HEAD.pack(_ROWS_MAGIC, self.dtype.itemsize, self._writer, self._generation, 0)
            head = head[:-4] + struct.pack("<I", crc32c(head[:-4]))
            try:
                self._files.truncate(fd, 0)
                self._files.pwrite(fd, head.ljust(_HEAD_BYTES, b"\0"), 0)
            except OSError:
                self._files.close(fd)
                raise
            self.fd = fd
        first, count = self.count, len(slots)
        self._files.pwrite(self.fd, slots, _HEAD_BYTES + first * self.dtype.itemsize)
        if first + count > len(self.entries):
            grown = np.zeros(max(first + count, 2 * len(self.entries)), ENTRY)
            grown[:first] = self.entries[:first]
            self.entries = grown
        self.entries[first : first + count] = slots["entry"]
        self.count = first + count
        return first

    def rewrite(self, first: int, slots: NDArray[Any]) -> None:
        """Write over slots in use."""
        try:
            self._files.pwrite(self.fd, slots, _HEAD_BYTES + first * self.dtype.itemsize)
        except OSError:
            self.torn = True
            raise
        self.entries[first : first + len(slots)] = slots["entry"]

    def change(self, change: Change) -> None:
        """Append a change of the video table."""
        payload = change.pack()
        if self._changes_fd < 0:
            self._changes_fd = self._files.open(self._changes_path, create=True)
            self._files.truncate(self._changes_fd, 0)
        data = _CHANGE.pack(_CHANGE_MAGIC, crc32c(payload), len(payload)) + payload
        self._files.pwrite(self._changes_fd, data, self._changes_bytes)
        self._changes_bytes += len(data)

    def sync(self) -> LogEntry:
        """Make both files durable (their names need a sync of the folder) and say how much of them counts."""
        if self.torn:
            raise FeatureStoreError(
                "a write failed half-way since the last commit: call rollback(), then write again"
            )
        try:
            if self.fd >= 0:
                self._files.sync(self.fd)
            if self._changes_fd >= 0:
                self._files.sync(self._changes_fd)
        except OSError:
            # After a failed sync the system may have dropped the pages: a second sync would succeed and lie.
            self.torn = True
            raise
        return LogEntry(self._writer, self._names[0], self.count, self._names[1], self._changes_bytes)

    def close(self) -> None:
        super().close()
        if self._changes_fd >= 0:
            os.close(self._changes_fd)
            self._changes_fd = -1


def read_changes(path: Path, length: int) -> Iterator[Change]:
    """The committed changes; StoreFormatError when the file is shorter than that, or damaged."""
    if length == 0:
        return
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreFormatError(f"committed log {path} is missing: restore the store from a copy") from error
    at = 0
    while at < length:
        magic, check, size = _CHANGE.unpack_from(data[at : at + _CHANGE.size].ljust(_CHANGE.size, b"\0"))
        payload = data[at + _CHANGE.size : at + _CHANGE.size + size]
        if magic != _CHANGE_MAGIC or len(payload) != size or crc32c(payload) != check:
            raise StoreFormatError(
                f"committed log {path} is damaged at byte {at}: restore the store from a copy"
            )
        at += _CHANGE.size + size
        yield Change.unpack(payload)


class Overlay:
    """Rows that are newer in logs than in the base: row -> slot, compactly (4 bytes a row, untouched pages free)."""

    def __init__(self, logs: list[RowLog], num_rows: int) -> None:
        self.logs = logs
        self._starts = np.cumsum([0, *(log.count for log in logs)])
        self._slot_of = np.zeros(num_rows, np.int32)  # slot + 1
        for start, log in zip(self._starts[:-1].tolist(), logs, strict=True):
            entries = log.entries[: log.count]
            self._slot_of[entries["row"]] = np.arange(start + 1, start + 1 + log.count)

    def resize(self, num_rows: int) -> None:
        if num_rows > len(self._slot_of):
            grown = np.zeros(max(num_rows, len(self._slot_of) * 5 // 4), np.int32)
            used = np.concatenate([log.entries[: log.count]["row"] for log in self.logs])
            grown[used] = self._slot_of[used]  # not the whole: untouched pages stay free
            self._slot_of = grown

    @property
    def count(self) -> int:
        return sum(log.count for log in self.logs)

    def note(self, start_row: int, first_slot: int, count: int) -> None:
        """Rows [start_row, start_row + count) now lie in slots from first_slot on."""
        self._slot_of[start_row : start_row + count] = np.arange(first_slot + 1, first_slot + count + 1)

    def slots(self, start_row: int, stop_row: int) -> NDArray[np.int32]:
        """Slot + 1 of each row, 0 where the base is newest; a view."""
        return self._slot_of[start_row:stop_row]

    def _parts(
        self, slots: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> Iterator[tuple[RowLog, int, int, int]]:
        for i, j in runs(slots, positions):
            at, stop = int(slots[i]), int(slots[j - 1]) + 1
            position = int(positions[i])
            while at < stop:  # a run may go over from one log into the next
                which = int(np.searchsorted(self._starts[1:-1], at, side="right"))
                base = int(self._starts[which])
                end = min(stop, int(self._starts[which + 1])) if which + 1 < len(self.logs) else stop
                yield self.logs[which], at - base, end - base, position
                position += end - at
                at = end

    def patch_rows(self, start_row: int, stop_row: int, out: NDArray[Any]) -> None:
        """Put the rows that a log holds into out [stop_row - start_row, C]."""
        slots = self._slot_of[start_row:stop_row]
        positions = np.flatnonzero(slots)
        if len(positions):
            for log, first, stop, at in self._parts(slots[positions].astype(np.int64) - 1, positions):
                out[at : at + stop - first] = log.read_slots(first, stop)["data"]

    def patch_ledger(self, name: str, start_row: int, stop_row: int, out: NDArray[Any]) -> None:
        """The same for one column of the ledger, out [stop_row - start_row]."""
        slots = self._slot_of[start_row:stop_row]
        positions = np.flatnonzero(slots)
        wanted = slots[positions].astype(np.int64) - 1
        for i, log in enumerate(self.logs):
            if len(self.logs) == 1:
                out[positions] = log.entries[name][wanted]
            else:
                here = np.flatnonzero((wanted >= self._starts[i]) & (wanted < self._starts[i + 1]))
                out[positions[here]] = log.entries[name][wanted[here] - self._starts[i]]

    def close(self) -> None:
        for log in self.logs:
            log.close()
