"""Opening a feature store of which any file may be anything: read, verified, exported, copied, written to."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz.attacks import (
    NAMES,
    NUMBERS,
    change_json,
    change_numbers,
    cut,
    damage,
    displace,
    several,
)
from benchmarks.fuzz.tally import Attack, Target
from featstore import FeatureSpec, FeatureStore, StoreWriteError
from featstore.errors import LongtalError
from featstore.files import FileOps
from pipelines.store.features import export_features

_SPEC = FeatureSpec("test", "none", channels=4, clip_frames=4, frame_stride=1, dtype="float32", fps=4.0)
_STORE = "s.zarr"
_RECORD = struct.Struct("<4sIQ")


class _DiskUntilTheCommit(FileOps):
    """Refuses every write after the rename of commit.json that is the second commit."""

    commits = 0

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.commits += target.name == "commit.json"

    def pwrite(self, fd: int, data: Any, offset: int) -> None:
        if self.commits > 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().pwrite(fd, data, offset)


def make(folder: Path) -> None:
    """Three videos in the base; one has rows at given times."""
    (folder / "victim").write_text("outside")
    with FeatureStore.create(folder / _STORE, _SPEC, chunk_bytes=256) as store:
        _fill(store)
        store.commit()


def make_unapplied(folder: Path) -> None:
    """The same with a second commit whose rows and videos are in the logs alone."""
    (folder / "victim").write_text("outside")
    FeatureStore.create(folder / _STORE, _SPEC, chunk_bytes=256).close()
    store = FeatureStore.open(folder / _STORE, "r+", files=_DiskUntilTheCommit())
    _fill(store)
    store.commit()
    store.add_videos(
        [{"id": "d", "num_rows": 3, "row_times_s": [0.5, 1.0, 4.0]}, {"id": "e/f", "num_rows": 2}]
    )
    store.write("d", 0, np.ones((3, 4)), 0)
    store.write("a", 2, np.ones((2, 4)), 7)
    store.complete("d")
    try:
        store.commit()
        raise AssertionError("the disk was to refuse")
    except StoreWriteError:
        pass
    assert store._lock is not None
    store._log.close()
    store._lock.abandon()  # as the system does for a process that dies
    store._closed = True


def _fill(store: FeatureStore) -> None:
    for video_id, rows in (("a", 10), ("b/c", 5)):
        store.add_video(video_id, num_rows=rows, fps=4.0, duration_s=rows / 4)
        store.write(video_id, 0, np.arange(rows * 4.0).reshape(rows, 4), 0)
        store.complete(video_id)


def attempt(folder: Path) -> None:
    """Every use of a store; the first error is raised when all were tried."""
    path, errors = folder / _STORE, []
    for use in (_read, _verify, _export, _copy, _write, _repair, _write, _read):
        try:
            use(path)
        except LongtalError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _read(path: Path) -> None:
    with FeatureStore.open(path) as store:
        for video_id in store.video_ids:
            rows = store.video(video_id).num_rows
            store.read(video_id, 0, rows, return_valid=True)
            store.ledger(video_id)
        store.videos()
        store.staleness()
        store.staleness(by="row")
        _ = store.uncommitted_rows


def _verify(path: Path) -> None:
    with FeatureStore.open(path) as store:
        store.verify()


def _export(path: Path) -> None:
    export_features(path, path.parent / "exported")


def _copy(path: Path) -> None:
    with FeatureStore.open(path) as store:
        store.copy_to(path.parent / "copy.zarr")


def _write(path: Path) -> None:
    with FeatureStore.open(path, "r+") as store:
        for video_id in store.video_ids[:2]:
            store.write(video_id, 0, np.zeros((1, 4)), 1)
        store.add_video("new", num_rows=2)
        store.rollback()
        if "newer" not in store.ids("reserved"):
            store.add_video("newer", num_rows=2)
        store.commit()


def _repair(path: Path) -> None:
    with FeatureStore.open(path, "r+") as store:
        store.mend_chunks()


_COLUMNS = [
    "id_start",
    "id_stop",
    "first_row",
    "reserved_rows",
    "num_rows",
    "num_frames",
    "fps",
    "duration_s",
]
_ARRAYS = [f"{_STORE}/videos/{name}/c/0" for name in (*_COLUMNS, "text")]
_LEDGER = [f"{_STORE}/ledger/{name}/c/0" for name in ("time_s", "step", "written_at")]
_FILES = [
    *_ARRAYS,
    *_LEDGER,
    f"{_STORE}/zarr.json",
    f"{_STORE}/commit.json",
    f"{_STORE}/features/zarr.json",
    f"{_STORE}/ledger/step/zarr.json",
    f"{_STORE}/features/c/0/0",
]
_FOLDERS = [
    f"{_STORE}/{name}" for name in ("features", "features/c", "features/c/0", "ledger", "log", "videos/text")
]


def _log_names() -> SearchStrategy[Attack]:
    """A commit that names files of others as its logs: the next writer removes logs."""

    def do_with(choice: tuple[Any, Any, bool]) -> Attack:
        name, other, applied = choice

        def do(folder: Path) -> None:
            path = folder / _STORE / "commit.json"
            document = json.loads(path.read_text())
            entry = {"writer": 0, "rows_file": name, "slots": 0, "journal_file": other, "journal_bytes": 0}
            document.update(applied=applied, logs=[entry])
            path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))

        return Attack(f"logs named {name!r:.60}, {other!r:.60}", do)

    names = st.sampled_from(
        ["../../outside/victim", "../victim", "log/00000001.000.rows", *NAMES, *NUMBERS[:4]]
    )
    return st.tuples(names, names, st.booleans()).map(do_with)


def _journal() -> SearchStrategy[Attack]:
    """Numbers of a journal's record changed, its checksum made anew."""
    numbers = st.sampled_from(
        [b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 8, b"\0" * 5 + b"\x01\0\0", b"../../x\0"]
    )

    def make_attack(choice: tuple[float, float, bytes]) -> Attack:
        which, share, number = choice

        def do(folder: Path) -> None:
            (path,) = (folder / _STORE / "log").glob("*.journal")
            records, data, at = [], path.read_bytes(), 0
            while at < len(data):
                kind, _, size = _RECORD.unpack_from(data, at)
                records.append((kind, data[at + _RECORD.size : at + _RECORD.size + size]))
                at += _RECORD.size + size
            if not records:  # another attack was here first
                return
            place = int(which * (len(records) - 1))
            kind, payload = records[place]
            start = int(share * (len(payload) // 8)) * 8
            changed = bytearray(payload)
            changed[start : start + 8] = number[: len(changed) - start]
            records[place] = (kind, bytes(changed))
            path.write_bytes(
                b"".join(_RECORD.pack(k, google_crc32c.value(p), len(p)) + p for k, p in records)
            )

        return Attack(f"journal record at {which:.2f}, {share:.3f}: {number!r}", do)

    return st.tuples(st.floats(0, 1), st.floats(0, 1), numbers).map(make_attack)


def _any_of(attack: Any, files: list[str]) -> SearchStrategy[Attack]:
    return st.sampled_from(files).flatmap(attack)


TARGETS = [
    Target(
        "store: metadata",
        make,
        several(
            st.one_of(
                change_json(f"{_STORE}/commit.json"),
                change_json(f"{_STORE}/zarr.json"),
                change_json(f"{_STORE}/features/zarr.json"),
                damage(f"{_STORE}/commit.json"),
                damage(f"{_STORE}/zarr.json"),
                _log_names(),
            )
        ),
        attempt,
    ),
    Target(
        "store: arrays",
        make,
        several(_any_of(change_numbers, _ARRAYS) | _any_of(damage, _ARRAYS + _LEDGER)),
        attempt,
    ),
    Target(
        "store: files",
        make,
        several(st.one_of(displace(_FILES + _FOLDERS), displace(_FOLDERS), _any_of(cut, _FILES))),
        attempt,
    ),
    Target(
        "store: logs",
        make_unapplied,
        several(
            st.one_of(
                _journal(),
                _journal(),
                change_json(f"{_STORE}/commit.json"),
                _log_names(),
                displace([f"{_STORE}/log/00000002.000.rows", f"{_STORE}/log/00000002.000.journal"]),
                _any_of(cut, [f"{_STORE}/log/00000002.000.rows", f"{_STORE}/log/00000002.000.journal"]),
            )
        ),
        attempt,
    ),
]
