"""The public face: FeatureStore, the long memory on disk."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from featstore.commits import CommittingStore
from featstore.errors import StoreValueError
from featstore.files import FileOps, disk_errors
from featstore.layout import CHUNK_BYTES, VIDEO, create_folder, make_header
from featstore.locking import WriterLock, await_first_writer
from featstore.log import Change, row_sums, runs
from featstore.spec import FeatureSpec
from featstore.videos import COMPLETE, FAILED, REMOVED, RESERVED, VideoRecord, check_id, pack_reason

_OPEN: weakref.WeakSet[FeatureStore] = weakref.WeakSet()
# Room for rows is reserved ahead, growing with the store, but no more than this at a time.
_RESERVE_AHEAD_BYTES = 256 << 20


class FeatureStore(CommittingStore):
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
            self._start_writing()
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
        """A new, empty store, open for writing; FileExistsError when something is there."""
        create_folder(Path(path), make_header(spec, chunk_bytes))
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
    ) -> Self:
        """Open for reading ("r": the last commit, followed as others commit) or writing ("r+").

        run: name of the run that writes; a store refreshed by one run refuses another. writer, writers: this
        process's number among those of the run; writer 0 opens first (it recovers), the others wait for it.
        FileNotFoundError, StoreFormatError, StoreLockedError.
        """
        if mode not in ("r", "r+"):
            raise StoreValueError(f"mode must be 'r' or 'r+', not {mode!r}")
        if not 0 <= writer < writers:
            raise StoreValueError(f"writer {writer} of {writers}: the number must lie in 0 .. {writers - 1}")
        if writers > 1 and run is None and mode == "r+":
            raise StoreValueError("several writers need the same run=NAME, so that no others can join")
        return cls(Path(path), mode, run, writer, writers, files or FileOps(), join_timeout_s)

    # -- videos ----------------------------------------------------------------------------------------------

    def add_video(
        self,
        id: str,
        num_rows: int,
        fps: float = 0.0,
        duration_s: float | None = None,
        num_frames: int | None = None,
        row_times_s: ArrayLike | None = None,
    ) -> VideoRecord:
        """Reserve rows for a new video; see `add_videos`."""
        row = {"id": id, "num_rows": num_rows, "fps": fps, "duration_s": duration_s}
        self.add_videos([{**row, "num_frames": num_frames, "row_times_s": row_times_s}])
        return self.video(id)

    @disk_errors
    def add_videos(self, table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
        """Reserve rows for many videos at once: columns id, num_rows, and optionally fps (default: the
        spec's), duration_s, num_frames, row_times_s (float64 [num_rows], the rows' centres; default: a
        regular grid).

        A failed or removed video of that id is replaced. Readers see a video after `complete` and `commit`.
        StoreValueError (nothing added) for a hostile, doubled or present id; OSError when the disk is full.
        """
        rows: list[Mapping[Any, Any]] = (
            [*table.to_dict("records")] if isinstance(table, pd.DataFrame) else list(table)
        )
        if not rows:
            return
        with self._guard:
            self._check_writing()
            if self.writer:
                raise StoreValueError(
                    f"writer {self.writer} cannot add videos: writer 0 adds and commits them first"
                )
            records, text, times, replaced = self._new_records(rows)
            stop = int(records["first_row"][-1] + records["reserved_rows"][-1])
            count, text_start = len(self._table), self._table.text_bytes
            self._reserve(stop, count + len(records), text_start + len(text))
            if len(replaced):
                self._put(replaced, self._with(replaced, state=REMOVED))
            change = Change(np.arange(count, count + len(records)), records, text_start, text, times)
            self._log.change(change)
            self._table.change(change)
            self._new_times.update(change.given_times())
            self._rows_end = stop
            self._overlay.resize(stop)
            self._places.clear()

    def _new_records(
        self, rows: list[Mapping[str, Any]]
    ) -> tuple[NDArray[Any], bytes, bytes, NDArray[np.int64]]:
        records = np.zeros(len(rows), VIDEO)
        ids, times, replaced = [], [], []
        seen: set[str] = set()
        next_row, next_text = self._rows_end, self._table.text_bytes
        for record, row in zip(records, rows, strict=True):
            data = check_id(row["id"])
            if row["id"] in seen:
                raise StoreValueError(f"video {row['id']!r} is listed twice; nothing was added")
            seen.add(row["id"])
            if row["id"] in self._table:
                known = self._table.index(row["id"])
                if self._table.records["state"][known] in (RESERVED, COMPLETE):
                    state = self._table.video(known).state
                    raise StoreValueError(
                        f"video {row['id']!r} is in the store already ({state}); remove() it first"
                    )
                replaced.append(known)
            count = _whole(row["num_rows"], "num_rows", row["id"], 1)
            given = row.get("row_times_s")
            if given is not None and np.ndim(given) == 1:
                seconds = np.asarray(given, "<f8")
                if len(seconds) != count or not np.isfinite(seconds).all():
                    raise StoreValueError(f"video {row['id']!r}: row_times_s needs {count} finite seconds")
                times.append(seconds.tobytes())
                record["given_times"] = 1
            fps = _number(row.get("fps"), self.spec.fps)
            if not (fps >= 0 and np.isfinite(fps)):
                raise StoreValueError(
                    f"video {row['id']!r}: fps must be a positive number (0: not known), not {fps}"
                )
            frames = row.get("num_frames")
            record["id_start"], record["id_stop"] = next_text, next_text + len(data)
            record["first_row"], record["reserved_rows"], record["num_rows"] = next_row, count, count
            record["num_frames"] = -1 if _missing(frames) else _whole(frames, "num_frames", row["id"], 0)
            record["fps"], record["duration_s"] = fps, _number(row.get("duration_s"), float("nan"))
            record["owner"] = -1
            ids.append(data)
            next_row, next_text = next_row + count, next_text + len(data)
        return records, b"".join(ids), b"".join(times), np.array(replaced, np.int64)

    def _reserve(self, rows: int, videos: int, text: int) -> None:
        """Disk space for what is added now, and some ahead; exactly the need where the disk has no more."""
        if rows > self._rows_reserved:
            ahead = max(1, _RESERVE_AHEAD_BYTES // self.spec.row_bytes)
            try:
                target = rows + min(rows // 4, ahead)
                self._base.reserve_rows(self._rows_reserved, target)
            except OSError:
                target = rows
                self._base.reserve_rows(self._rows_reserved, target)
            self._rows_reserved = target
        if videos > self._videos_reserved or text > self._text_reserved:
            header = self._header
            target = max(videos * 5 // 4, min(256, header.video_chunk))
            text = max(text * 5 // 4, min(4096, header.text_chunk))
            self._base.reserve_videos(self._videos_reserved, target, self._text_reserved, text)
            self._videos_reserved, self._text_reserved = target, text

    @disk_errors
    def complete(self, id: str, num_rows: int | None = None) -> None:
        """Mark a video as usable from the next commit on; num_rows: fewer rows than reserved (containers
        misreport their length). StoreValueError for more rows than reserved."""
        with self._guard:
            index = self._owned(id)
            count = int(self._table.records["num_rows"][index])
            if num_rows is not None:
                count = _whole(num_rows, "num_rows", id, 1)
                if count > self._table.records["reserved_rows"][index]:
                    raise StoreValueError(
                        f"video {id!r} has {self._table.records['reserved_rows'][index]} rows reserved, "
                        f"it cannot have {count}"
                    )
            self._put_one(index, state=COMPLETE, num_rows=count, reason=pack_reason(""))

    @disk_errors
    def fail(self, id: str, reason: str) -> None:
        """Mark a video as not extractable, and say why; add_video(id) tries again."""
        with self._guard:
            self._put_one(self._owned(id), state=FAILED, reason=pack_reason(reason))

    @disk_errors
    def reopen(self, id: str) -> None:
        """Back to reserved, rows kept: to extract a failed or complete video again in place."""
        with self._guard:
            index = self._owned(id)
            reserved = self._table.records["reserved_rows"][index]
            self._put_one(index, state=RESERVED, num_rows=reserved, reason=pack_reason(""))

    @disk_errors
    def remove(self, ids: str | Iterable[str]) -> int:
        """Take videos out from the next commit on; bytes of rows that `compact` will give back."""
        with self._guard:
            self._check_writing()
            names = [ids] if isinstance(ids, str) else list(ids)
            indices = np.array([self._owned(i) for i in names], np.int64)
            if not len(indices):
                return 0
            self._put(indices, self._with(indices, state=REMOVED))
            return int(self._table.records["reserved_rows"][indices].sum()) * self.spec.row_bytes

    def assign(self, owners: Mapping[str, int]) -> None:
        """Give videos to other writers from the next commit on (writer 0 only)."""
        with self._guard:
            self._check_writing()
            if self.writer:
                raise StoreValueError("only writer 0 changes who owns a video")
            for video_id, owner in owners.items():
                if not 0 <= owner < self.writers:
                    raise StoreValueError(
                        f"video {video_id!r}: there is no writer {owner} among {self.writers}"
                    )
                self._new_owners[self._table.index(video_id)] = owner

    def owner(self, id: str) -> int:
        """The writer that may write a video now."""
        with self._guard:
            index = self._table.index(id)
            if index >= self._commit.num_videos:
                return 0  # the others do not see it before the commit
            owner = int(self._table.records["owner"][index])
            return (index if owner < 0 else owner) % self.writers

    # -- rows ------------------------------------------------------------------------------------------------

    @disk_errors
    def write(self, id: str, start_row: int, rows: ArrayLike, step: int) -> None:
        """Write rows [n, C] at start_row of a video into the log; step: the optimizer step they were fed to
        (0: extraction). The newest for reads here at once, for other processes from the next commit.

        StoreValueError (nothing written) for a wrong shape, rows out of range, values not finite in the
        store's dtype, or a video that another writer owns; OSError when the disk does not take them."""
        values = rows if type(rows) is np.ndarray else np.asarray(rows)
        if values.ndim != 2 or values.shape[1] != self._channels or values.dtype.kind not in "fiu":
            raise StoreValueError(
                f"video {id!r}: rows must be numbers of shape [n, {self._channels}], "
                f"not {values.dtype} {list(values.shape)}"
            )
        if step < 0:
            raise StoreValueError(
                f"video {id!r}: step must be 0 (extraction) or an optimizer step, not {step}"
            )
        if values.dtype != self._dtype or not values.flags.c_contiguous:
            with np.errstate(over="ignore", invalid="ignore"):
                values = np.ascontiguousarray(values, self._dtype)
        count = len(values)
        with self._guard:
            first, length = self._writable(id)
            if start_row < 0 or start_row + count > length:
                raise StoreValueError(
                    f"video {id!r} has rows [0, {length}), [{start_row}, {start_row + count}) do not lie "
                    f"inside"
                )
            if count:
                _check_finite(id, values)
                self._log_rows(first + start_row, values, step)

    def _log_rows(self, start: int, rows: NDArray[Any], step: int) -> None:
        """Put rows into the log, new ones at its end, others in place, and note their ledger entries."""
        log, count = self._log, len(rows)
        sums = row_sums(rows)
        taken = self._overlay.slots(start, start + count)
        slot = int(taken[0])  # slot + 1; 0 where the row is not in the log yet
        if not np.count_nonzero(taken):
            first = log.append(rows)
            self._overlay.note(start, first, count)
            writes = self._base_writes(start, start + count)
            self._note(first, start, count, step, writes, sums)
        elif slot and int(taken[-1]) == slot + count - 1 and (taken[1:] - taken[:-1] == 1).all():
            self._rewrite(slot - 1, start, rows, step, sums)  # a clip written again, as training does
        else:
            slots = taken.astype(np.int64)
            new = slots == 0
            # Stretches that are new, or lie in slots one after another.
            for i, j in runs(np.where(new, np.arange(-count, 0), slots)):
                if new[i]:
                    first = log.append(rows[i:j])
                    self._overlay.note(start + i, first, j - i)
                    writes = self._base_writes(start + i, start + j)
                    self._note(first, start + i, j - i, step, writes, sums[i:j])
                else:
                    self._rewrite(int(slots[i]) - 1, start + i, rows[i:j], step, sums[i:j])
        if step and self.run is not None:
            self._refreshed = True

    def _rewrite(self, slot: int, row: int, rows: NDArray[Any], step: int, sums: NDArray[np.uint32]) -> None:
        """Write over slots in use, one after another from slot on."""
        self._log.rewrite(slot, rows)
        writes = self._log.entries["writes"][slot : slot + len(rows)].copy()
        self._note(slot, row, len(rows), step, writes, sums)

    def _note(
        self, slot: int, row: int, count: int, step: int, writes: Any, sums: NDArray[np.uint32]
    ) -> None:
        entries = self._log.entries[slot : slot + count]
        entries["row"] = np.arange(row, row + count)
        entries["step"] = step
        entries["written_at"] = time.time()
        entries["writes"] = writes + 1
        entries["crc32c"] = sums

    def _base_writes(self, start: int, stop: int) -> NDArray[Any]:
        writes = np.zeros(stop - start, np.uint32)
        base_stop = min(stop, self._base_rows)
        if start < base_stop:
            self._base.ledger["writes"].read_into(start, base_stop, writes[: base_stop - start])
        return writes

    def _writable(self, id: str) -> tuple[int, int]:
        """(first row, number of rows) of a video that this process may write."""
        place = self._write_places.get(id)
        if place is None or self._prepared is not None or self._forked:
            index = self._owned(id)
            record = self._table.records[index]
            place = self._write_places[id] = (int(record["first_row"]), int(record["num_rows"]))
        return place

    def _owned(self, id: str) -> int:
        """Position of a video that this process may change."""
        self._check_writing()
        index = self._table.index(id)
        owner = self.owner(id)
        if owner != self.writer:
            raise StoreValueError(
                f"video {id!r} belongs to writer {owner}, this is writer {self.writer}: "
                "ownership changes only with assign() and a commit"
            )
        return index

    def _with(self, indices: NDArray[np.int64], **values: Any) -> NDArray[Any]:
        records = self._table.records[indices].copy()
        for name, value in values.items():
            records[name] = value
        return records

    def _put_one(self, index: int, **values: Any) -> None:
        indices = np.array([index], np.int64)
        self._put(indices, self._with(indices, **values))

    def _put(self, indices: NDArray[np.int64], records: NDArray[Any]) -> None:
        change = Change(indices, records)
        self._log.change(change)
        self._table.change(change)
        self._places.clear()
        self._write_places.clear()

    # -- looking after the store -----------------------------------------------------------------------------

    def mend_chunks(self) -> list[str]:
        """Give missing or cut chunk files their full size (zeros), so that `verify` can list the lost
        rows."""
        from featstore.verify import mend_chunks

        with self._guard:
            self._check_writing()
            return mend_chunks(self)

    def close(self) -> None:
        """Drop what is not committed, release the lock; a second call does nothing."""
        with self._guard:
            if self._closed:
                return
            if self._lock is not None and not self._forked:
                self._drop_logs()
            super().close()
            if self._lock is not None:
                self._lock.release() if not self._forked else self._lock.abandon()
            _OPEN.discard(self)


# By bytes a number: how to read it as a whole number, the least that is not finite, the same below zero.
_EXPONENTS: dict[int, tuple[np.dtype[Any], np.dtype[Any], int, int]] = {
    2: (np.dtype("i2"), np.dtype("u2"), 0x7C00, 0xFC00),
    4: (np.dtype("i4"), np.dtype("u4"), 0x7F800000, 0xFF800000),
}


def _check_finite(id: str, values: NDArray[Any]) -> None:
    """StoreValueError for infinity or NaN: the numbers whose exponent bits are all ones."""
    # Read as whole numbers, the largest positive and the largest negative float come out on top; two
    # reductions are several times faster than np.isfinite on halves.
    signed, unsigned, limit, negative = _EXPONENTS[values.dtype.itemsize]
    if (
        np.maximum.reduce(values.view(signed), axis=None) >= limit
        or np.maximum.reduce(values.view(unsigned), axis=None) >= negative
    ):
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise StoreValueError(
            f"video {id!r}: row {row} of those to write holds values that are not finite as {values.dtype}; "
            "nothing was written"
        )


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _number(value: Any, default: float) -> float:
    return default if _missing(value) else float(value)


def _whole(value: Any, name: str, video_id: str, least: int) -> int:
    if isinstance(value, bool) or int(value) != value or int(value) < least:
        raise StoreValueError(
            f"video {video_id!r}: {name} must be a whole number of at least {least}, not {value!r}"
        )
    return int(value)


def _after_fork_in_child() -> None:
    # The child shares the lock's file description: holding it open would outlive the parent.
    for store in list(_OPEN):
        store.note_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
