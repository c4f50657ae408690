"""Adding videos to a store, and changing their state and their owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from featstore.commits import CommittingStore
from featstore.errors import StoreValueError
from featstore.files import disk_errors
from featstore.layout import VIDEO
from featstore.log import Change
from featstore.sizes import rows_with_room, table_with_room
from featstore.videos import COMPLETE, FAILED, REMOVED, RESERVED, VideoRecord, check_id, pack_reason


class EditingStore(CommittingStore):
    """Changes of `FeatureStore`'s video table; each goes into the log and counts from the next commit."""

    def add_video(
        self,
        id: str,
        num_rows: int,
        fps: float = 0.0,
        duration_s: float | None = None,
        num_frames: int | None = None,
        row_times_s: ArrayLike | None = None,
    ) -> VideoRecord:
        """Reserve rows for a new video.

        Parameters
        ----------
        id
            Name of the video.
        num_rows
            Rows to reserve.
        fps
            Sampling rate of the rows, frames a second; 0: not known.
        duration_s
            Length of the video in seconds.
        num_frames
            Frames of the video at the sampling rate.
        row_times_s
            float64 [num_rows], the rows' centres in seconds; None: a regular grid.

        Returns
        -------
        VideoRecord
            The video as it now stands in the table.

        Raises
        ------
        StoreValueError, StoreWriteError
            As `add_videos`.
        """
        row = {"id": id, "num_rows": num_rows, "fps": fps, "duration_s": duration_s}
        self.add_videos([{**row, "num_frames": num_frames, "row_times_s": row_times_s}])
        return self.video(id)

    @disk_errors
    def add_videos(self, table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> None:
        """Reserve rows for many videos at once.

        A failed or removed video of that id is replaced. Readers see a video after `complete` and `commit`.

        Parameters
        ----------
        table
            Columns (or keys) id, num_rows and, where known, fps (otherwise the spec's), duration_s,
            num_frames, row_times_s, as `add_video` describes them.

        Raises
        ------
        StoreValueError
            An id that is hostile, there twice or in the store already, or a number out of range;
            nothing was added.
        StoreWriteError
            The disk is full.
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
        """(records [n], their ids as text, their seconds, table positions of videos that they replace)."""
        records = np.zeros(len(rows), VIDEO)
        ids, times, replaced = [], [], []
        names: set[str] = set()
        next_row, next_text = self._rows_end, self._table.text_bytes
        for record, row in zip(records, rows, strict=True):
            data = check_id(row["id"])
            if row["id"] in names:
                raise StoreValueError(f"video {row['id']!r} is listed twice; nothing was added")
            names.add(row["id"])
            if row["id"] in self._table:
                former = self._table.index(row["id"])
                if self._table.records["state"][former] in (RESERVED, COMPLETE):
                    state = self._table.video(former).state
                    raise StoreValueError(
                        f"video {row['id']!r} is in the store already ({state}); remove() it first"
                    )
                replaced.append(former)
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
            try:
                target = rows_with_room(self.spec, rows)
                self._base.reserve_rows(self._rows_reserved, target)
            except OSError:
                target = rows
                self._base.reserve_rows(self._rows_reserved, target)
            self._rows_reserved = target
        if videos > self._videos_reserved or text > self._text_reserved:
            target, text = table_with_room(self._header, videos, text)
            self._base.reserve_videos(self._videos_reserved, target, self._text_reserved, text)
            self._videos_reserved, self._text_reserved = target, text

    @disk_errors
    def complete(self, id: str, num_rows: int | None = None) -> None:
        """Mark a video as usable from the next commit on.

        Parameters
        ----------
        id
            A reserved video.
        num_rows
            Fewer rows than reserved (containers misreport their length); None: all of them.

        Raises
        ------
        StoreValueError
            More rows than reserved, or a video of another writer.
        """
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
        """Take videos out from the next commit on.

        Returns
        -------
        int
            Bytes of rows that `compact_store` will give back.
        """
        with self._guard:
            self._check_writing()
            names = [ids] if isinstance(ids, str) else list(ids)
            indices = np.array([self._owned(i) for i in names], np.int64)
            if not len(indices):
                return 0
            self._put(indices, self._with(indices, state=REMOVED))
            return int(self._table.records["reserved_rows"][indices].sum()) * self.spec.row_bytes

    def assign(self, owners: Mapping[str, int]) -> None:
        """Give videos to other writers from the next commit on.

        Parameters
        ----------
        owners
            Video -> number of its writer.

        Raises
        ------
        StoreValueError
            This is not writer 0, or there is no such writer.
        """
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
