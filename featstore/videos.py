"""The video table in memory: one packed record per video, and the way from an id to its record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import StoreFormatError, StoreValueError, UnknownVideoError
from featstore.layout import REASON_BYTES, VIDEO
from featstore.log import FROM_A_COPY, Change

RESERVED, COMPLETE, FAILED, REMOVED = range(4)
STATES = ("reserved", "complete", "failed", "removed")
MAX_ID_BYTES = 1024
MAX_PART_BYTES = 255  # of a file's name, on every common file system
_DRIVE = re.compile("[A-Za-z]:")


@dataclass(frozen=True)
class VideoRecord:
    """One video of a store.

    Attributes
    ----------
    id
        Its name.
    first_row, reserved_rows
        Rows of the flat array set aside for it.
    num_rows
        Those that count.
    fps
        Sampling rate of the rows, frames a second; 0: not known.
    duration_s
        Length in seconds; None: not known.
    num_frames
        Frames at the sampling rate; None: not known.
    state
        One of STATES.
    index
        Position in the video table.
    owner
        The writer that may write it; -1: `index` modulo the number of writers.
    reason
        Why it failed.
    given_times
        The rows' seconds came with the video.
    """

    id: str
    first_row: int
    num_rows: int
    fps: float
    duration_s: float | None
    num_frames: int | None
    state: str
    reserved_rows: int
    index: int
    owner: int
    reason: str = ""
    given_times: bool = False


def check_id(video_id: object) -> bytes:
    """The id's UTF-8 bytes.

    An id is the path of a video's file below some folder, with ``/`` between its parts (``P01/P01_11``). Ids
    name files elsewhere (features, exports), so none may lead out of the folder that it is joined to.

    Raises
    ------
    StoreValueError
        for what could never name a video safely; the message says why.
    """
    if not isinstance(video_id, str):
        raise StoreValueError(f"a video id must be text, not {type(video_id).__name__}: {video_id!r}")
    try:
        data = video_id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StoreValueError(f"video id {video_id!r} is not valid Unicode text") from error
    shown = video_id if len(video_id) <= 60 else video_id[:57] + "..."
    if not data or len(data) > MAX_ID_BYTES:
        raise StoreValueError(
            f"a video id must have 1 to {MAX_ID_BYTES} bytes, this one has {len(data)}: {shown!r}"
        )
    if any(ord(c) < 32 or ord(c) == 127 for c in video_id):
        raise StoreValueError(f"video id {shown!r} holds control characters")
    parts = video_id.split("/")
    if "\\" in video_id or _DRIVE.match(video_id) or any(part in ("", ".", "..") for part in parts):
        raise StoreValueError(
            f"video id {shown!r} could lead out of a folder: write the file's path below its folder, such as "
            "P01/P01_11, without drive, backslash, '.' or '..'"
        )
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise StoreValueError(f"video id {shown!r}: a part between slashes has over {MAX_PART_BYTES} bytes")
    return data


def pack_reason(reason: str) -> NDArray[np.uint8]:
    """UTF-8 bytes of a reason, cut at a character, zero-padded to the table's width."""
    data = reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore").encode()
    packed = np.zeros(REASON_BYTES, np.uint8)
    packed[: len(data)] = np.frombuffer(data, np.uint8)
    return packed


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StoreFormatError(f"the id {data!r:.60} of a video is damaged: {FROM_A_COPY}") from error


class VideoTable:
    """Records [num_videos] of dtype VIDEO; removed videos stay in place, without an id."""

    def __init__(self, records: NDArray[Any], text: bytes) -> None:
        self._records = records
        self._count = len(records)
        self.text_bytes = len(text)
        self.ids: list[str] = []
        self._index: dict[str, int] = {}
        for i, (start, stop) in enumerate(
            zip(records["id_start"].tolist(), records["id_stop"].tolist(), strict=True)
        ):
            self.ids.append(_decoded(text[start:stop]))
            self._index[self.ids[i]] = i
        for i in np.flatnonzero(records["state"] == REMOVED).tolist():
            if self._index.get(self.ids[i]) == i:
                del self._index[self.ids[i]]

    def __len__(self) -> int:
        return self._count

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._index

    @property
    def records(self) -> NDArray[Any]:
        """The records in use, [num_videos] of dtype VIDEO."""
        return self._records[: self._count]

    @property
    def count_named(self) -> int:
        """Different ids of videos that are not removed."""
        return len(self._index)

    def index(self, video_id: str) -> int:
        """Position of a video in the table; UnknownVideoError."""
        try:
            return self._index[video_id]
        except (KeyError, TypeError):
            raise UnknownVideoError(
                f"the store has no video {video_id!r} ({len(self._index)} others): extract it first"
            ) from None

    def put(self, indices: NDArray[np.int64], records: NDArray[Any], text_start: int, text: bytes) -> None:
        """Set records; those beyond the table's end lengthen it.

        Parameters
        ----------
        indices
            Positions in the table, int64 [n].
        records
            Array [n] of dtype VIDEO.
        text_start
            Where `text` begins in the text of all ids, in bytes.
        text
            Ids of the videos that are new.
        """
        needed = int(indices.max()) + 1 if len(indices) else 0
        if needed > len(self._records):
            grown = np.zeros(max(needed, 2 * len(self._records)), VIDEO)
            grown[: self._count] = self._records[: self._count]
            self._records = grown
        self._records[indices] = records
        self.text_bytes = max(self.text_bytes, text_start + len(text))
        for i, record in zip(indices.tolist(), records, strict=True):
            if i >= len(self.ids):
                start, stop = int(record["id_start"]) - text_start, int(record["id_stop"]) - text_start
                self.ids.append(_decoded(text[start:stop]))
            if record["state"] == REMOVED:
                if self._index.get(self.ids[i]) == i:
                    del self._index[self.ids[i]]
            else:
                self._index[self.ids[i]] = i
        self._count = max(self._count, needed)

    def change(self, change: Change) -> None:
        """Bring a logged change into the table; StoreFormatError where it leaves videos out."""
        new = np.sort(change.indices[change.indices >= self._count])
        if len(new) and (change.owners_only or (new != self._count + np.arange(len(new))).any()):
            raise StoreFormatError(f"a log changes videos that there are not: {FROM_A_COPY}")
        if change.owners_only:
            self._records["owner"][change.indices] = change.records["owner"]
            return
        records = change.records.copy()
        present = np.flatnonzero(change.indices < self._count)
        records["owner"][present] = self._records["owner"][change.indices[present]]
        self.put(change.indices, records, change.text_start, change.text)

    def of_state(self, state: int) -> list[str]:
        """Ids of the videos in a state, in the order they were added."""
        return [self.ids[i] for i in np.flatnonzero(self.records["state"] == state).tolist()]

    def video(self, index: int) -> VideoRecord:
        """The record at a position of the table."""
        r = self._records[index]
        return VideoRecord(
            id=self.ids[index],
            first_row=int(r["first_row"]),
            num_rows=int(r["num_rows"]),
            fps=float(r["fps"]),
            duration_s=None if np.isnan(r["duration_s"]) else float(r["duration_s"]),
            num_frames=None if r["num_frames"] < 0 else int(r["num_frames"]),
            state=STATES[r["state"]],
            reserved_rows=int(r["reserved_rows"]),
            index=index,
            owner=int(r["owner"]),
            reason=r["reason"].tobytes().rstrip(b"\0").decode("utf-8", "replace"),
            given_times=bool(r["given_times"]),
        )
