"""Decode chosen pictures with decord, where it is asked for and its idea of the video is the container's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.documents import why
from tal.errors import VideoError
from tal.video.index import TIME_SLACK_S, PacketIndex
from tal.video.pyav_decoder import refreshes_gradually

_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")
_CHUNK_PICTURES = 32


def why_missing() -> str:
    """Why there is no decord on this machine; empty where there is one."""
    if find_spec("decord") is not None:
        return ""
    return "decord is not installed here (it has no wheel for Arm): leave the reader at auto, or name pyav"


def why_not(index: PacketIndex) -> str:
    """Why decord must not read this video; empty when its pictures and their times are those of the index.

    Compares counts, time stamps, rotation and edit list, not pictures, which takes milliseconds.
    """
    if index.rotation:
        return f"rotated by {index.rotation} degrees"
    if index.edited:
        return "an edit list hides some of its pictures"
    if index.container not in _CONTAINERS:
        return f"decord seeks wrongly in {index.container}"
    if index.counted or index.numbering is not None:
        return "its packets do not tell their pictures' times"
    if index.streams > 1:
        return f"{index.streams} video streams, of which decord may choose another"
    if index.times_s[0] > 0:
        return f"its first picture comes {index.times_s[0]:.2f} s after the file's start"
    if index.open_groups:
        return "open groups of pictures, which decord gets wrong after a seek"
    if index.varying:
        return "its rate varies"
    if index.codec == "h264" and refreshes_gradually(index):
        return "no key frames but a gradual refresh, which decord gets wrong after a seek"
    try:
        reader = _open(index, -1, -1, 1)
        times_s = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0].astype(np.float64)
    except (_decord_error(), RuntimeError, OSError, IndexError, ValueError) as error:
        return f"decord cannot open it ({_cause(error)})"
    if len(times_s) != len(index.pts):
        return f"decord counts {len(times_s)} pictures, the container has {len(index.pts)}"
    apart_s = np.abs(times_s - times_s[0] - index.times_s)
    if not np.isfinite(apart_s).all() or apart_s.max() > TIME_SLACK_S:
        return "decord's time stamps differ from the container's"
    return ""


class DecordDecoder:
    """Gives pictures by their index; one decord reader for each size that is asked for."""

    def __init__(self, index: PacketIndex, threads: int = 1) -> None:
        self._index = index
        self._threads = threads
        self._size = (0, 0)
        self._reader: Any = None

    def pictures(self, wanted: NDArray[np.int64], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures [height, width, 3] RGB for picture indices in increasing order (repeats allowed).

        Raises
        ------
        VideoError
            decord gives up: a damaged file, or a width that it gets wrong (16, 24, 48 and 72 pixels).
        """
        try:
            if self._reader is None or self._size != (width, height):
                self._reader = _open(self._index, width, height, self._threads)
                self._size = (width, height)
            for start in range(0, len(wanted), _CHUNK_PICTURES):
                yield from self._reader.get_batch(wanted[start : start + _CHUNK_PICTURES]).asnumpy()
        except (_decord_error(), RuntimeError, OSError) as error:
            raise VideoError(
                f"{self._index.path}: decord fails at {width}x{height} pixels ({_cause(error)}); use "
                "--reader pyav"
            ) from error

    def close(self) -> None:
        self._reader = None


open_decoder = DecordDecoder


def _decord_error() -> type[Exception]:
    from decord._ffi.base import DECORDError

    return DECORDError


def _cause(error: Exception) -> str:
    """The first line of decord's message, without the time and the place in its source."""
    return re.sub(r"^\[[\d:]+\] \S+: ", "", why(error))[:100]


def _open(index: PacketIndex, width: int, height: int, threads: int) -> Any:
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    return decord.VideoReader(str(index.path), num_threads=threads, width=width, height=height)
