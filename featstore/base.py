"""The base arrays together: load the video table, and bring a committed log into them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from featstore.arrays import FlatArray, map_budget
from featstore.errors import StoreFormatError
from featstore.files import FileOps
from featstore.layout import LEDGER, LEDGER_FILL, VIDEO, Commit, Header, LogEntry, write_commit, write_shape
from featstore.log import FROM_A_COPY, Change, RowLog, read_journal, runs
from featstore.promises import check_places
from featstore.table_checks import check_change, check_records
from featstore.videos import VideoTable

# Ledger entries of new rows are made in pieces, so that adding millions of rows takes little memory.
_FILL_ROWS = 1 << 18


class Base:
    """A store's arrays: features [rows, C], ledger columns [rows], video columns [videos], ids as text."""

    def __init__(self, root: Path, header: Header, files: FileOps) -> None:
        self.root, self.header, self.files = root, header, files
        spec = header.spec
        self.features = FlatArray(
            root / "features", spec.numpy_dtype, header.feature_chunk, files, (spec.channels,), map_budget()
        )
        self.ledger = {
            name: FlatArray(root / "ledger" / name, LEDGER[name], header.ledger_chunk, files)
            for name in LEDGER.names or ()
        }
        self.videos: dict[str, FlatArray] = {}
        for name in VIDEO.names or ():
            dtype, shape = VIDEO[name].subdtype or (VIDEO[name], ())
            self.videos[name] = FlatArray(root / "videos" / name, dtype, header.video_chunk, files, shape, 4)
        self.text = FlatArray(root / "videos" / "text", np.dtype("u1"), header.text_chunk, files, (), 4)

    @property
    def arrays(self) -> list[FlatArray]:
        return [self.features, *self.ledger.values(), *self.videos.values(), self.text]

    def check_folders(self) -> None:
        """Hold that the folders are the store's own, before anything is read or made in them.

        Raises
        ------
        StoreFormatError
            One is a link, or not a folder.
        """
        folders = {part for array in self.arrays for part in (array.folder.parent, array.folder)}
        folders |= {array.folder / "c" for array in self.arrays} | {self.root / "log"}
        check_places(self.root, folders - {self.root})

    def _check_sizes(self, commit: Commit) -> None:
        """Hold that the files have room for what a commit says is in the base; StoreFormatError if not."""
        _check_room([self.features, *self.ledger.values()], commit.rows_before, "rows")
        _check_room(self.videos.values(), commit.videos_before, "videos")

    def load_table(self, commit: Commit) -> VideoTable:
        """The records of a commit as far as they are in the base.

        Raises
        ------
        StoreFormatError
            They are damaged.
        """
        self._check_sizes(commit)
        num_videos = commit.videos_before
        records = np.empty(num_videos, VIDEO)
        for name, array in self.videos.items():
            records[name] = array.read(0, num_videos)
            array.drop_maps()
        check_records(records, commit.text_bytes, commit.num_rows, self.root)
        text_bytes = int(records["id_stop"].max(initial=0))
        _check_room([self.text], text_bytes, "bytes of ids")
        return VideoTable(records, self.text.read(0, text_bytes).tobytes())

    def reserve_rows(self, start: int, stop: int) -> None:
        """Set aside disk space for rows [start, stop) and their ledger entries; OSError when it is full."""
        for array in (self.features, *self.ledger.values()):
            array.reserve(start, stop)

    def reserve_videos(self, start: int, stop: int, text_start: int, text_stop: int) -> None:
        """The same for records [start, stop) of the video table and bytes [text_start, text_stop) of ids."""
        for array in self.videos.values():
            array.reserve(start, stop)
        self.text.reserve(text_start, text_stop)

    # -- the second half of a commit -----------------------------------------------------------------------

    def apply(self, commit: Commit, check: bool) -> Commit:
        """Bring the commit's logs into the base and note that; doing it twice gives the same bytes.

        Parameters
        ----------
        commit
            A commit that stands in commit.json and is not applied.
        check
            Compare each row of the logs with its checksum first, as a recovery must.

        Returns
        -------
        Commit
            The same commit, applied.

        Raises
        ------
        StoreFormatError
            A log is damaged; nothing was changed.
        OSError
            The disk refused a write; applying again mends it.
        """
        changes: list[Change] = []
        logs: list[RowLog] = []
        try:
            for entry in commit.logs:
                logged, log = open_log(self.root, entry, self.features.item_bytes, commit)
                changes += logged
                logs += [log] if log else []
            if check:
                self._refuse_damaged(logs)
            self.reserve_rows(commit.rows_before, commit.num_rows)
            self._apply_changes(changes, commit)
            for log in logs:
                self._apply_rows(log)
        finally:
            for log in logs:
                log.close()
        for array in self.arrays:
            array.sync()
        self.write_shapes(commit)
        applied = commit.noted_applied()
        write_commit(self.files, self.root, applied)
        self.remove_logs(commit)
        return applied

    def _apply_changes(self, changes: list[Change], commit: Commit) -> None:
        latest: dict[int, Any] = {}
        owners: dict[int, int] = {}
        if changes:
            text_stop = max((c.text_start + len(c.text) for c in changes if c.text), default=0)
            text_start = min((c.text_start for c in changes if c.text), default=0)
            self.reserve_videos(commit.videos_before, commit.num_videos, text_start, text_stop)
        for change in changes:
            if change.owners_only:
                owners.update(zip(change.indices.tolist(), change.records["owner"].tolist(), strict=True))
                continue
            latest.update(zip(change.indices.tolist(), change.records, strict=True))
            if change.text:
                self.text.put(change.text_start, np.frombuffer(change.text, np.uint8))
                owners.update(zip(change.indices.tolist(), change.records["owner"].tolist(), strict=True))
                self._fill_ledger(change)
        order = np.array(sorted(latest), np.int64)
        records = np.array([latest[i] for i in order.tolist()], VIDEO)
        for name, array in self.videos.items():
            if name != "owner":
                column = np.ascontiguousarray(records[name])
                for i, j in runs(order):
                    array.put(int(order[i]), column[i:j])
        order = np.array(sorted(owners), np.int64)
        column = np.array([owners[i] for i in order.tolist()], VIDEO["owner"])
        for i, j in runs(order):
            self.videos["owner"].put(int(order[i]), column[i:j])

    def _fill_ledger(self, change: Change) -> None:
        """Write the ledger entries of new videos' rows: their seconds, and that they were never written."""
        spec, used = self.header.spec, 0
        for record in change.records:
            first, count = int(record["first_row"]), int(record["reserved_rows"])
            for start in range(0, count, _FILL_ROWS):
                stop = min(count, start + _FILL_ROWS)
                if record["given_times"]:
                    times = np.frombuffer(change.times, "<f8", stop - start, (used + start) * 8)
                else:
                    times = spec.row_times_s(start, stop, float(record["fps"]))
                for name, array in self.ledger.items():
                    values = times if name == "time_s" else np.full(stop - start, LEDGER_FILL[name])
                    array.put(first + start, np.ascontiguousarray(values, array.dtype))
            if record["given_times"]:
                used += count

    def _apply_rows(self, log: RowLog) -> None:
        entries = log.entries[: log.count]
        entries = entries[np.argsort(entries["row"], kind="stable")]
        stretches = runs(entries["row"])
        for name in ("step", "written_at", "writes", "crc32c"):
            column = np.ascontiguousarray(entries[name])
            for i, j in stretches:
                self.ledger[name].put(int(entries["row"][i]), column[i:j])
        for start, data in log.blocks(self.features.dtype):
            rows = log.entries["row"][start : start + len(data)]
            order = np.argsort(rows, kind="stable")
            rows, data = rows[order], data[order]
            for i, j in runs(rows):
                self.features.put(int(rows[i]), data[i:j])

    def _refuse_damaged(self, logs: list[RowLog]) -> None:
        for log in logs:
            bad = log.damaged(self.features.dtype)
            if len(bad):
                rows = log.entries["row"][bad[:5]].tolist()
                raise StoreFormatError(
                    f"committed log {log.path} is damaged in {len(bad)} of {log.count} rows "
                    f"(rows {rows} ...): {FROM_A_COPY}"
                )

    def write_shapes(self, commit: Commit) -> None:
        """Tell Zarr readers how long the arrays are now."""
        for array in (self.features, *self.ledger.values()):
            write_shape(self.files, array.folder, commit.num_rows)
        for array in self.videos.values():
            write_shape(self.files, array.folder, commit.num_videos)
        write_shape(self.files, self.text.folder, commit.text_bytes)

    def remove_logs(self, commit: Commit) -> None:
        """Remove the logs of a commit that is applied."""
        for entry in commit.logs:
            for name in (entry.rows_file, entry.journal_file):
                with contextlib.suppress(FileNotFoundError):
                    self.files.unlink(self.root / name)

    def remove_stray_logs(self) -> None:
        """Remove what an interrupted run left in log/ and no commit names; locks stay."""
        for path in (self.root / "log").iterdir():
            if not path.name.startswith("lock."):
                self.files.unlink(path)
        for pattern in ("*.tmp", "*/*.tmp", "*/*/*.tmp"):
            for path in self.root.glob(pattern):
                above = path.relative_to(self.root).parents
                if not any((self.root / folder).is_symlink() for folder in list(above)[:-1]):
                    self.files.unlink(path)

    def close(self) -> None:
        for array in self.arrays:
            array.close()


def _check_room(arrays: Iterable[FlatArray], items: int, what: str) -> None:
    """Hold that at least one of several arrays of one length has the chunk files for so many items.

    One that lost its files can be repaired; a number that none of them bears out is not one to go by.

    Raises
    ------
    StoreFormatError
        None has.
    """
    arrays = list(arrays)
    most = max(array.most_items() for array in arrays)
    if items > most:
        raise StoreFormatError(
            f"{arrays[0].folder.parent}: {items} {what} are promised, the files hold {most} at most: restore "
            "the store from a copy"
        )


def open_log(
    root: Path, entry: LogEntry, row_bytes: int, commit: Commit
) -> tuple[list[Change], RowLog | None]:
    """A commit's log of one writer.

    Parameters
    ----------
    root
        The store's folder.
    entry
        The log as commit.json names it.
    row_bytes
        Bytes of a row.
    commit
        The commit, within whose sizes the log must stay.

    Returns
    -------
    tuple
        Changes of the video table, in order, and the rows (None: there are none).

    Raises
    ------
    StoreFormatError
        A file of the log is missing, cut or damaged.
    """
    changes, entries = read_journal(root / entry.journal_file, entry.journal_bytes)
    if len(entries) != entry.slots:
        raise StoreFormatError(
            f"committed log {root / entry.journal_file} lists {len(entries)} rows, "
            f"{entry.slots} were committed: {FROM_A_COPY}"
        )
    source = root / entry.journal_file
    if ((entries["row"] < 0) | (entries["row"] >= commit.num_rows)).any():
        raise StoreFormatError(f"committed log {source} names rows that there are not: {FROM_A_COPY}")
    for change in changes:
        check_change(change, commit.num_videos, commit.text_bytes, commit.num_rows, source)
    return changes, RowLog.open(root / entry.rows_file, row_bytes, entries) if entry.slots else None
