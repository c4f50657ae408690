"""Rows of one video on their way into the store: a file that one process fills and any other can read.

The rows as a plain matrix, then JSON (id, number of rows, checksum or why it failed), then the JSON's length
in 8 bytes. The file takes its final name when it is whole; after a power cut the checksum tells.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from featstore import FeatureStore, UnknownVideoError, VideoRecord
from pipelines.shared import console
from tal.shared.files import output_errors

_READ_ROWS = 4096
_LENGTH = struct.Struct("<Q")


def part_path(folder: Path, video_id: str) -> Path:
    return folder / f"{_name(video_id)}.part"


def done_path(folder: Path, video_id: str) -> Path:
    return folder / f"{_name(video_id)}.done"


def finished(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.done"))


def _name(video_id: str) -> str:
    return hashlib.sha256(video_id.encode()).hexdigest()[:32]  # an id may be no good file name


class Spool:
    """Collects a video's rows, which come in order. Closing ``descriptor`` frees the video's claim."""

    def __init__(self, path: Path, descriptor: int, record: VideoRecord, dtype: np.dtype[Any]) -> None:
        self.path, self.record, self.error = path, record, ""
        self._dtype = dtype
        self._rows = self._sum = 0
        os.ftruncate(descriptor, 0)  # of a process that died
        self._file = os.fdopen(descriptor, "wb", buffering=1 << 20)

    def add(self, start_row: int, rows: NDArray[np.float32]) -> None:
        """Append float32 rows [n, C]; those behind the video's end and those of a failed video are dropped.

        Raises
        ------
        OutputError
            the disk does not take them.
        """
        rows = rows[: max(0, self.record.num_rows - start_row)]
        if self.error or not len(rows):
            return
        assert start_row == self._rows
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(rows, self._dtype)
        if not np.isfinite(values).all():
            self.error = (
                f"video {self.record.id!r}: rows are not finite as {self._dtype} near row {start_row}"
            )
            return
        data = values.tobytes()
        with output_errors(self.path):
            self._file.write(data)
        self._sum = zlib.crc32(data, self._sum)
        self._rows += len(values)

    def finish(self) -> None:
        """The video is through, well or with ``error``; any process may put it into the store now."""
        about = {"id": self.record.id, "rows": self._rows, "crc32": self._sum, "error": self.error}
        text = json.dumps(about).encode()
        with output_errors(self.path):
            self._file.write(text + _LENGTH.pack(len(text)))
            self._file.flush()
            os.rename(self.path, self.path.with_suffix(".done"))  # before the claim goes
            self._file.close()

    def discard(self) -> None:
        """Give the video back, undone."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the disk is full: what the buffer holds is not wanted
            self._file.close()


def put(store: FeatureStore, path: Path) -> bool:
    """A finished video into the store, not committed; whether the store takes it.

    One that the store has already, or no longer waits for, is left out, and so is a damaged file.
    """
    with path.open("rb") as file:
        about = _read_about(file)
        if about is None or (not about["error"] and not _is_sound(file, about, store)):
            console.log.warning("%s: damaged, its video is extracted again", path)
            return False
        video_id = about["id"]
        if not _is_waited_for(store, video_id):
            return False
        if about["error"]:
            store.fail(video_id, about["error"])
            return True
        if about["rows"] != store.video(video_id).num_rows:
            return False
        file.seek(0)
        for start in range(0, about["rows"], _READ_ROWS):
            store.write(video_id, start, _read(file, min(_READ_ROWS, about["rows"] - start), store), step=0)
        store.complete(video_id)
        return True


def _is_waited_for(store: FeatureStore, video_id: str) -> bool:
    try:
        return store.video(video_id).state == "reserved"
    except UnknownVideoError:
        return False


def _read_about(file: BinaryIO) -> dict[str, Any] | None:
    try:
        file.seek(-_LENGTH.size, os.SEEK_END)
        end = file.tell()
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        file.seek(end - length)
        about = json.loads(file.read(length))
        return about if about["id"] and about["rows"] >= 0 and about["crc32"] >= 0 else None
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _is_sound(file: BinaryIO, about: dict[str, Any], store: FeatureStore) -> bool:
    file.seek(0)
    total = 0
    for start in range(0, about["rows"], _READ_ROWS):
        total = zlib.crc32(_read(file, min(_READ_ROWS, about["rows"] - start), store).tobytes(), total)
    return total == about["crc32"]


def _read(file: BinaryIO, count: int, store: FeatureStore) -> NDArray[Any]:
    """Rows [count, C] in the store's dtype; fewer where the file is cut."""
    data = file.read(count * store.spec.row_bytes)
    whole = len(data) // store.spec.row_bytes
    return np.frombuffer(data, store.spec.numpy_dtype, whole * store.spec.channels).reshape(whole, -1)
