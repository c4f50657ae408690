"""What lies where in a store's folder, and the two small JSON files that describe it.

NAME.zarr/
  zarr.json            the group's attributes: format version, feature spec, chunk sizes
  commit.json          the truth: generation, sizes, run, and the logs that belong to the generation
  features/            [rows, C]
  ledger/NAME/         [rows], one array a column of LEDGER
  videos/NAME/         [videos], one array a column of VIDEO; videos/text: UTF-8 bytes of the ids
  log/                 write-ahead logs, lock files
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featstore.documents import read_json, why
from featstore.errors import (
    FeatureStoreError,
    StoreExistsError,
    StoreFormatError,
    StoreNotFoundError,
    StoreWriteError,
)
from featstore.files import FileOps, sync_folders, write_atomically
from featstore.promises import check_chunk, check_commit, whole
from featstore.spec import FeatureSpec

FORMAT = 1
CHUNK_BYTES = 128 << 20
LEDGER_CHUNK_ROWS = 1 << 19
VIDEO_CHUNK = 1 << 14
TEXT_CHUNK = 1 << 20
REASON_BYTES = 160

# step: 0 = extraction, -1 = never written; crc32c: of the row's bytes
LEDGER = np.dtype(
    [("time_s", "<f8"), ("step", "<i8"), ("written_at", "<f8"), ("writes", "<u4"), ("crc32c", "<u4")]
)
LEDGER_FILL = {"time_s": float("nan"), "step": -1, "written_at": float("nan"), "writes": 0, "crc32c": 0}

# id_start, id_stop: bytes of videos/text; owner -1: (position in the table) modulo the number of writers;
# reserved_rows: rows set aside from first_row on, num_rows: rows that count; given_times 1: seconds came
# with the video
VIDEO = np.dtype(
    [
        ("id_start", "<i8"),
        ("id_stop", "<i8"),
        ("first_row", "<i8"),
        ("reserved_rows", "<i8"),
        ("num_rows", "<i8"),
        ("num_frames", "<i8"),
        ("fps", "<f8"),
        ("duration_s", "<f8"),
        ("state", "u1"),
        ("given_times", "u1"),
        ("owner", "<i4"),
        ("reason", "u1", (REASON_BYTES,)),
    ]
)


@dataclass(frozen=True)
class LogEntry:
    """One writer's part of a commit: so many slots of one file, so many bytes of the other."""

    writer: int
    rows_file: str
    slots: int
    journal_file: str
    journal_bytes: int

    @property
    def empty(self) -> bool:
        return not self.slots and not self.journal_bytes


@dataclass(frozen=True)
class Commit:
    """Content of commit.json. Not applied: the base still lacks what the logs hold."""

    generation: int
    num_rows: int
    num_videos: int
    text_bytes: int
    rows_before: int
    videos_before: int
    run_id: str | None
    committed_at: float
    applied: bool = True
    logs: tuple[LogEntry, ...] = ()

    def noted_applied(self) -> Commit:
        """The same commit once the base has all of it."""
        return replace(self, applied=True, logs=(), rows_before=self.num_rows, videos_before=self.num_videos)


@dataclass(frozen=True)
class Header:
    """Content of the group's zarr.json that never changes after creation."""

    spec: FeatureSpec
    feature_chunk: int
    ledger_chunk: int
    video_chunk: int
    text_chunk: int


def make_header(spec: FeatureSpec, chunk_bytes: int = CHUNK_BYTES) -> Header:
    """Choose chunk sizes: of features `chunk_bytes` or more and whole clips, of the others in proportion."""
    rows = -(-chunk_bytes // spec.row_bytes)
    return Header(
        spec=spec,
        feature_chunk=max(1, -(-rows // spec.rows_per_clip) * spec.rows_per_clip),
        ledger_chunk=min(LEDGER_CHUNK_ROWS, max(8, chunk_bytes // 256)),
        video_chunk=min(VIDEO_CHUNK, max(4, chunk_bytes // 8192)),
        text_chunk=min(TEXT_CHUNK, max(64, chunk_bytes // 128)),
    )


def read_header(path: Path) -> Header:
    """What a store's zarr.json says.

    Raises
    ------
    StoreNotFoundError
        There is nothing at the path.
    StoreFormatError
        A folder of something else, of a newer format, or damaged.
    """
    if not path.exists():
        raise StoreNotFoundError(
            f"no feature store at {path}: extract one with `longtal extract`, or correct the path"
        )
    try:
        document = read_json(path / "zarr.json", StoreFormatError)
        attributes = document["attributes"]["longtal"]
        version = whole(attributes, "format")
    except (StoreFormatError, KeyError, TypeError, ValueError) as error:
        raise StoreFormatError(
            f"{path} is not a feature store: zarr.json with longtal's attributes is missing ({why(error)})"
        ) from error
    if version > FORMAT:
        raise StoreFormatError(
            f"{path} has store format {version}, this longtal reads up to {FORMAT}: install a newer longtal"
        )
    return header_of(attributes, f"{path}/zarr.json")


def header_of(attributes: Any, source: str) -> Header:
    """What `header_document` made, read back from ``source``; StoreFormatError where it makes no sense."""
    try:
        spec, chunks = FeatureSpec.from_dict(attributes["spec"]), attributes["chunks"]
        sizes = {name: whole(chunks, name, 1) for name in ("features", "ledger", "videos", "text")}
        for name, item_bytes in (("features", spec.row_bytes), ("ledger", 8), ("videos", VIDEO.itemsize)):
            check_chunk(sizes[name], item_bytes, name)
        check_chunk(sizes["text"], 1, "text")
    except KeyError as error:
        raise StoreFormatError(f"{source} lacks {error}: restore it from a copy") from error
    except (TypeError, ValueError) as error:
        if isinstance(error, StoreFormatError):
            raise
        raise StoreFormatError(f"{source} is damaged ({why(error)}): restore it from a copy") from error
    return Header(spec, sizes["features"], sizes["ledger"], sizes["videos"], sizes["text"])


def header_document(header: Header) -> dict[str, Any]:
    """A header as JSON values: the spec, and the chunk sizes."""
    chunks = {
        "features": header.feature_chunk,
        "ledger": header.ledger_chunk,
        "videos": header.video_chunk,
        "text": header.text_chunk,
    }
    return {"spec": header.spec.to_dict(), "chunks": chunks}


def read_commit(path: Path) -> Commit:
    """The last commit.

    Raises
    ------
    StoreFormatError
        commit.json is missing, of a newer format, or damaged.
    """
    name = path / "commit.json"
    if not os.path.lexists(name):
        raise StoreFormatError(f"{path} is not a feature store, or a damaged one: commit.json is missing")
    try:
        document = read_json(name, StoreFormatError)
        version = whole(document, "format")
        commit = commit_of(document) if version <= FORMAT else None
    except (KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else why(error)
        raise StoreFormatError(f"{name} is damaged ({said}): restore the store from a copy") from error
    if commit is None:
        raise StoreFormatError(f"{name} is of a newer format: install a newer longtal")
    return commit


def commit_of(document: dict[str, Any]) -> Commit:
    """A commit read back from JSON values; ValueError, TypeError or KeyError where it makes no sense."""
    check_commit(document)
    values = {key: value for key, value in document.items() if key != "format"}
    return Commit(**{**values, "logs": tuple(LogEntry(**entry) for entry in document["logs"])})


def write_commit(files: FileOps, path: Path, commit: Commit) -> None:
    """Replace commit.json in one step."""
    document = {"format": FORMAT, **asdict(commit)}
    write_atomically(files, path / "commit.json", json.dumps(document, indent=1).encode())


def create_folder(path: Path, header: Header, files: FileOps) -> None:
    """Write an empty store's metadata into a new folder; zarr itself says what its metadata look like.

    Raises
    ------
    StoreExistsError
        Something stands at the path.
    StoreWriteError
        The disk is full, or refuses; nothing is left at the path.
    """
    if path.exists():
        raise StoreExistsError(f"{path} exists already: choose another path, or open it")
    try:
        _write_folder(path, header, files)
    except OSError as error:
        if path.exists():
            files.remove(path)
        reason = f"{path} cannot be made: {error.strerror}. Free space, or choose another place"
        raise StoreWriteError(error.errno, reason) from error


@dataclass(frozen=True)
class ArrayLayout:
    """One array of a store: name, type, shape of an item, items in a chunk, value of what nobody wrote."""

    name: str
    dtype: np.dtype[Any]
    item_shape: tuple[int, ...]
    chunk: int
    fill: Any

    @property
    def item_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.item_shape)


def array_layouts(header: Header) -> list[ArrayLayout]:
    """All arrays of a store: features, the ledger's columns, the video table's, and the text of the ids."""
    spec = header.spec
    arrays = [ArrayLayout("features", spec.numpy_dtype, (spec.channels,), header.feature_chunk, 0)]
    for name in LEDGER.names or ():
        arrays.append(ArrayLayout(f"ledger/{name}", LEDGER[name], (), header.ledger_chunk, LEDGER_FILL[name]))
    for name in VIDEO.names or ():
        dtype, shape = VIDEO[name].subdtype or (VIDEO[name], ())
        arrays.append(ArrayLayout(f"videos/{name}", dtype, shape, header.video_chunk, 0))
    return [*arrays, ArrayLayout("videos/text", np.dtype("u1"), (), header.text_chunk, 0)]


def _write_folder(path: Path, header: Header, files: FileOps) -> None:
    import zarr  # only here: reading needs no zarr

    attributes: dict[str, Any] = {"longtal": {"format": FORMAT, **header_document(header)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(str(path), mode="w-", zarr_format=3, attributes=attributes)

    for array in array_layouts(header):
        group.create_array(
            array.name,
            shape=(0, *array.item_shape),
            chunks=(array.chunk, *array.item_shape),
            dtype=array.dtype,
            compressors=None,
            filters=None,
            fill_value=array.fill,
        )
    files.mkdir(path / "log")
    # zarr does not sync: a power cut soon after the first commit could leave rows without a spec.
    for document in path.rglob("zarr.json"):
        fd = files.open(document)
        try:
            files.sync(fd)
        finally:
            files.close(fd)
    sync_folders(files, path)
    files.sync_dir(path.parent)
    write_commit(files, path, Commit(0, 0, 0, 0, 0, 0, None, 0.0))


def write_shape(files: FileOps, folder: Path, length: int) -> None:
    """Tell Zarr readers how long an array is."""
    document = read_json(folder / "zarr.json", StoreFormatError)
    shape = document.get("shape") if isinstance(document, dict) else None
    if not (isinstance(shape, list) and shape):
        raise StoreFormatError(f"{folder}/zarr.json has no shape: restore it from a copy")
    if shape[0] != length:
        shape[0] = length
        write_atomically(files, folder / "zarr.json", json.dumps(document, indent=2).encode())


def writable_error(path: Path, error: OSError) -> FeatureStoreError:
    """What to raise when a store's folder refuses a writer."""
    return FeatureStoreError(
        f"cannot write to {path} ({error.strerror}): make it writable, or open the store with mode='r'"
    )
