"""What a store takes on a disk, known before it is made; and the room that is set aside ahead."""

from __future__ import annotations

from dataclasses import dataclass

from featstore.layout import CHUNK_BYTES, LEDGER, VIDEO, Header, array_layouts, make_header
from featstore.spec import FeatureSpec

# Room for rows is reserved ahead, growing with the store, but no more than this at a time.
_AHEAD_BYTES = 256 << 20
# Of an id that is not known yet: ActivityNet's have 13, Kinetics' 11.
_ID_BYTES = 13


def rows_with_room(spec: FeatureSpec, num_rows: int) -> int:
    """Rows that a store reserves on the disk for so many."""
    return num_rows + min(num_rows // 4, max(1, _AHEAD_BYTES // spec.row_bytes))


def table_with_room(header: Header, num_videos: int, text_bytes: int) -> tuple[int, int]:
    """Videos, and bytes of their ids, that a store reserves on the disk for so many."""
    videos = max(num_videos * 5 // 4, min(256, header.video_chunk))
    return videos, max(text_bytes * 5 // 4, min(4096, header.text_chunk))


@dataclass(frozen=True)
class StoreSize:
    """What a store takes.

    Attributes
    ----------
    num_rows, num_videos
        In it.
    num_bytes
        On the disk: rows, ledger, table of videos, and the room for more that is set aside.
    num_files
        Files at rest. While it is written there are a log of two files for each writer, and its lock, more.
    """

    num_rows: int
    num_videos: int
    num_bytes: int
    num_files: int


def store_size(
    spec: FeatureSpec,
    num_rows: int,
    num_videos: int,
    text_bytes: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> StoreSize:
    """What a store takes to which all videos are added at once, as extraction does.

    Parameters
    ----------
    spec
        Of its features.
    num_rows, num_videos
        In it.
    text_bytes
        Of all ids in UTF-8; None: as data sets have them.
    chunk_bytes
        As in `FeatureStore.create`.
    """
    header = make_header(spec, chunk_bytes)
    rows = rows_with_room(spec, num_rows)
    videos, text = table_with_room(
        header, num_videos, num_videos * _ID_BYTES if text_bytes is None else text_bytes
    )
    arrays = array_layouts(header)
    chunks = 0
    for array in arrays:
        of_videos = text if array.name == "videos/text" else videos
        chunks += -(-(of_videos if array.name.startswith("videos/") else rows) // array.chunk)
    num_files = chunks + len(arrays) + 3 + 2  # a zarr.json each, and three of groups; commit.json, a lock
    num_bytes = rows * (spec.row_bytes + LEDGER.itemsize) + videos * VIDEO.itemsize + text
    return StoreSize(num_rows, num_videos, num_bytes, num_files)
