"""The reading half of a store: one committed generation at a time, plus a writer's own newest rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from featstore.errors import StoreFormatError, StoreValueError, UnknownVideoError
from featstore.following import CommitFollower
from featstore.layout import LEDGER, LEDGER_FILL
from featstore.log import row_sums, runs
from featstore.videos import COMPLETE, RESERVED, STATES, VideoRecord


class StoreReader(CommitFollower):
    """Reads of `FeatureStore`; in mode "r" each call sees exactly one committed generation."""

    @property
    def video_ids(self) -> list[str]:
        """Ids of the complete videos, in the order they were added."""
        with self._guard:
            self._refresh()
            return self._table.of_state(COMPLETE)

    def ids(self, state: str) -> list[str]:
        """Ids of the videos in a state.

        Parameters
        ----------
        state
            "reserved", "complete", "failed" or "removed".

        Raises
        ------
        StoreValueError
            No such state.
        """
        if state not in STATES:
            raise StoreValueError(f"no video state {state!r}; there are {', '.join(STATES)}")
        with self._guard:
            self._refresh()
            return self._table.of_state(STATES.index(state))

    def __len__(self) -> int:
        return len(self.video_ids)

    def __contains__(self, video_id: object) -> bool:
        """Whether the video is complete."""
        with self._guard:
            self._refresh()
            return video_id in self._table and bool(
                self._table.records["state"][self._table.index(str(video_id))] == COMPLETE
            )

    def video(self, video_id: str) -> VideoRecord:
        """A video's record, whatever its state; UnknownVideoError where the store does not have it."""
        with self._guard:
            self._refresh()
            return self._table.video(self._table.index(video_id))

    def videos(self) -> pd.DataFrame:
        """All videos but removed ones, a row each, with the columns of `VideoRecord`."""
        with self._guard:
            self._refresh()
            records = [self._table.video(i) for i in range(len(self._table))]
        columns = list(VideoRecord.__dataclass_fields__)
        frame = pd.DataFrame([[getattr(r, c) for c in columns] for r in records], columns=columns)
        return frame[frame["state"] != "removed"].reset_index(drop=True)

    # -- rows ------------------------------------------------------------------------------------------------

    def read(
        self,
        video_id: str,
        start_row: int,
        stop_row: int,
        out: NDArray[Any] | None = None,
        return_valid: bool = False,
        verify: bool = False,
    ) -> Any:
        """Rows [start_row, stop_row) of a video, the newest that this process may see; zeros outside it.

        Parameters
        ----------
        video_id
            A complete video; in a store that is open for writing, a reserved one too.
        start_row, stop_row
            The rows, which may lie outside the video on both sides.
        out
            Array [n, C] to fill, of the store's dtype or one that it casts to; None: a new one.
        return_valid
            Also tell which rows lie inside the video and were written.
        verify
            Compare each row with its checksum.

        Returns
        -------
        array or tuple
            Rows [n, C], never a view; with `return_valid` also bool [n].

        Raises
        ------
        UnknownVideoError
            The video is not in the store, or not in a state to be read.
        StoreValueError
            The stop lies before the start, or `out` has another shape.
        StoreFormatError
            A file is damaged, or (with `verify`) a row is.
        """
        count = stop_row - start_row
        if count < 0:
            raise StoreValueError(
                f"rows [{start_row}, {stop_row}) of {video_id!r}: the stop lies before the start"
            )
        if out is None:
            out = np.empty((count, self._header.spec.channels), self._base.features.dtype)
        elif out.shape != (count, self._header.spec.channels):
            raise StoreValueError(
                f"out has shape {out.shape}, the rows need {(count, self._header.spec.channels)}"
            )
        with self._guard:
            while True:
                self._refresh()
                first, length = self._place(video_id)
                low, high = max(0, start_row), min(stop_row, length)
                if low >= high:
                    out[:] = 0
                else:
                    i, j = low - start_row, high - start_row
                    if i:
                        out[:i] = 0
                    if j < count:
                        out[j:] = 0
                    self._rows_into(first + low, first + high, out[i:j])
                if not (return_valid or verify):
                    if self._unchanged():
                        return out
                    continue
                valid = np.zeros(count, bool)
                if low < high:
                    valid[i:j] = self._ledger_column("step", first + low, first + high) >= 0
                    if verify:
                        self._check_rows(video_id, low, first + low, first + high, out[i:j])
                if self._unchanged():
                    return (out, valid) if return_valid else out

    def gather(
        self,
        requests: Iterable[tuple[str, Any]],
        out: NDArray[Any] | None = None,
        return_valid: bool = False,
    ) -> Any:
        """Rows of many videos at once, one request after another; outside a video: zeros.

        Parameters
        ----------
        requests
            (id, rows) each, with rows a slice or range of step 1, or an array of row numbers.
        out
            C-contiguous array of the total size, in any shape that ends in C; None: a new one [total, C].
        return_valid
            Also tell which rows lie inside their video and were written.

        Returns
        -------
        array or tuple
            `out`; with `return_valid` also bool [total].

        Raises
        ------
        UnknownVideoError, StoreValueError, StoreFormatError
            As `read`; StoreValueError also for a request that is not as above.
        """
        asked = [(video_id, *_row_range(rows)) for video_id, rows in requests]
        channels = self._header.spec.channels
        total = sum(stop - start if numbers is None else len(numbers) for _, start, stop, numbers in asked)
        if out is None:
            out = np.empty((total, channels), self._base.features.dtype)
        elif out.size != total * channels or out.shape[-1] != channels or not out.flags.c_contiguous:
            raise StoreValueError(
                f"out has shape {out.shape}; the requests need a C-contiguous array of {total} x {channels}"
            )
        flat, at = out.reshape(total, channels), 0
        valid = np.zeros(total, bool)
        with self._guard:
            for video_id, start, stop, numbers in asked:
                for first, last in [(start, stop)] if numbers is None else _stretches(numbers):
                    part = slice(at, at + last - first)
                    if return_valid:
                        valid[part] = self.read(video_id, first, last, flat[part], return_valid=True)[1]
                    else:
                        self.read(video_id, first, last, flat[part])
                    at += last - first
        return (out, valid) if return_valid else out

    def ledger(
        self, video_id: str, start_row: int = 0, stop_row: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """What the ledger says about rows [start_row, stop_row) of a video.

        Parameters
        ----------
        video_id
            As in `read`.
        start_row, stop_row
            The rows; stop None: the video's last.

        Returns
        -------
        dict
            Columns [n]: time_s (the row's centre, seconds), step (0: extraction, -1: never written),
            written_at (seconds since 1970), writes (how often), crc32c. Rows outside the video have the
            fill values.

        Raises
        ------
        UnknownVideoError, StoreFormatError
            As `read`.
        """
        with self._guard:
            while True:
                self._refresh()
                first, length = self._place(video_id)
                stop = length if stop_row is None else stop_row
                low, high = max(0, start_row), min(stop, length)
                columns = {}
                for name in LEDGER.names or ():
                    column = np.full(max(0, stop - start_row), LEDGER_FILL[name], LEDGER[name])
                    if low < high:
                        column[low - start_row : high - start_row] = self._ledger_column(
                            name, first + low, first + high
                        )
                    columns[name] = column
                if self._unchanged():
                    return columns

    # -- inside ----------------------------------------------------------------------------------------------

    def _place(self, video_id: str) -> tuple[int, int]:
        """(first row, number of rows) of a video that may be read here."""
        place = self._places.get(video_id)
        if place is None:
            record = self._table.video(self._table.index(video_id))
            if record.state == STATES[COMPLETE] or (self.mode != "r" and record.state == STATES[RESERVED]):
                place = self._places[video_id] = (record.first_row, record.num_rows)
            else:
                why = f": {record.reason}" if record.reason else ""
                raise UnknownVideoError(
                    f"video {video_id!r} cannot be read, its state is {record.state}{why}"
                )
        return place

    def _rows_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Fill out [stop - start, C] with the flat array's newest rows: the base, then what logs hold."""
        base_stop = min(stop, self._base_rows)
        if start < base_stop:
            self._base.features.read_into(start, base_stop, out[: base_stop - start])
        if stop > self._base_rows:
            out[max(0, self._base_rows - start) :] = 0
        if self._overlay.count:
            self._overlay.patch_rows(start, stop, out)

    @property
    def _base_rows(self) -> int:
        return self._commit.rows_before

    def _ledger_column(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Newest entries [stop - start] of one column for rows of the flat array."""
        column = np.full(stop - start, LEDGER_FILL[name], LEDGER[name])
        base_stop = min(stop, self._base_rows)
        if start < base_stop:
            self._base.ledger[name].read_into(start, base_stop, column[: base_stop - start])
        if stop > self._base_rows and name == "time_s":
            self._new_times_into(start, stop, column)
        if name != "time_s" and self._overlay.count:
            self._overlay.patch_ledger(name, start, stop, column)
        return column

    def _new_times_into(self, start: int, stop: int, column: NDArray[np.float64]) -> None:
        """Fill in the seconds of those rows [start, stop) that the base does not have yet."""
        records = self._table.records
        inside = (records["first_row"] < stop) & (records["first_row"] + records["reserved_rows"] > start)
        for index in np.flatnonzero(inside & (records["first_row"] >= self._base_rows)).tolist():
            first, count = int(records["first_row"][index]), int(records["reserved_rows"][index])
            low, high = max(start, first), min(stop, first + count)
            given = self._new_times.get(index)
            if given is None:
                times = self.spec.row_times_s(low - first, high - first, float(records["fps"][index]))
            else:
                times = given[low - first : high - first]
            column[low - start : high - start] = times

    def _check_rows(self, video_id: str, row: int, start: int, stop: int, rows: NDArray[Any]) -> None:
        """Hold that rows [n, C], the video's from `row` on, the array's from `start` on, are as written."""
        sums = row_sums(np.ascontiguousarray(rows, self.spec.numpy_dtype))
        written = self._ledger_column("step", start, stop) >= 0
        bad = np.flatnonzero(written & (sums != self._ledger_column("crc32c", start, stop)))
        if len(bad):
            raise StoreFormatError(
                f"{len(bad)} rows of video {video_id!r} fail their checksum (first: row {row + bad[0]}): "
                "run `longtal store verify`, then `longtal extract --repair`"
            )

    def _live_videos(self) -> Iterator[tuple[str, int, int]]:
        """(id, first row, number of rows) of the complete videos."""
        records = self._table.records
        for i in np.flatnonzero(records["state"] == COMPLETE).tolist():
            yield self._table.ids[i], int(records["first_row"][i]), int(records["num_rows"][i])


def _row_range(rows: Any) -> tuple[int, int, NDArray[np.int64] | None]:
    """(start, stop, None) of a contiguous request, or (0, 0, numbers)."""
    if isinstance(rows, (slice, range)):
        step = rows.step
        if rows.start is None or rows.stop is None or step not in (None, 1):
            raise StoreValueError(f"a request's slice needs start and stop, and step 1: {rows}")
        return rows.start, max(rows.start, rows.stop), None
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise StoreValueError("a request's rows must be a slice, a range, or whole numbers in one dimension")
    return 0, 0, numbers.astype(np.int64)


def _stretches(numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(numbers[i]), int(numbers[j - 1]) + 1) for i, j in runs(numbers)]
