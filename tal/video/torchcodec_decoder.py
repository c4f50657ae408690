"""Decode chosen pictures with torchcodec, where it is named and its idea of the video is the container's."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.index import PacketIndex

_CHUNK_PICTURES = 32
# Containers in which it seeks to stamps that are not those of key frames, and finds no pictures.
_SEEKS_WRONGLY = ("mpegts", "mpeg")
_TICK_S = 1e-6  # of its time stamps: containers' ticks are 11 microseconds and more


def why_missing() -> str:
    """Why there is no torchcodec here; empty where it works."""
    if find_spec("torchcodec") is None:
        return (
            "torchcodec is not installed here: pip install longtal[torchcodec], or leave the reader at auto"
        )
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return (
            "torchcodec finds no FFmpeg libraries, or none of a version that it knows: install ffmpeg (apt "
            f"install ffmpeg, conda install ffmpeg), or leave the reader at auto ({first.strip()[:120]})"
        )
    return ""


def why_not(index: PacketIndex) -> str:
    """Why torchcodec must not read this video; empty where count, begin and end are those of the index.

    The time of each picture that it gives is compared as it is read.
    """
    if index.edited:
        return "an edit list hides some of its pictures"
    if index.counted or index.numbering is not None:
        return "its packets do not tell their pictures' times"
    if index.container in _SEEKS_WRONGLY:
        return f"torchcodec seeks wrongly in {index.container}"
    try:
        decoder = _open(index, None, 1)
        count, begin_s = len(decoder), decoder.metadata.begin_stream_seconds_from_content
        last_s = decoder.get_frame_at(count - 1).pts_seconds if count == len(index.pts) else 0.0
    except (RuntimeError, ValueError, IndexError) as error:
        return f"torchcodec cannot open it ({_cause(error)})"
    if count != len(index.pts):
        return f"torchcodec counts {count} pictures, the container has {len(index.pts)}"
    if abs((last_s - begin_s) - (index.times_s[-1] - index.times_s[0])) > _TICK_S:
        return "torchcodec's time stamps differ from the container's"
    return ""


class TorchcodecDecoder:
    """Gives pictures by their index; one decoder for each size that is asked for."""

    def __init__(self, index: PacketIndex, threads: int = 1) -> None:
        self._index = index
        self._threads = threads
        self._size = (0, 0)
        self._decoder: Any = None
        self._begin_s = 0.0

    def pictures(self, wanted: NDArray[np.int64], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures [height, width, 3] RGB for picture indices in increasing order (repeats allowed).

        Raises
        ------
        VideoError
            a picture is not there, damaged, or not of its time.
        """
        try:
            if self._decoder is None or self._size != (width, height):
                self._decoder = _open(self._index, (height, width), self._threads)
                self._size = (width, height)
                self._begin_s = self._decoder.metadata.begin_stream_seconds_from_content
            for start in range(0, len(wanted), _CHUNK_PICTURES):
                chunk = wanted[start : start + _CHUNK_PICTURES]
                batch = self._decoder.get_frames_at(chunk.tolist())
                self._check(chunk, batch.pts_seconds.numpy())
                yield from batch.data.numpy()
        except (RuntimeError, ValueError, IndexError) as error:
            raise VideoError(
                f"{self._index.path}: torchcodec fails ({_cause(error)}); use --reader pyav"
            ) from error

    def _check(self, wanted: NDArray[np.int64], found_s: NDArray[np.float64]) -> None:
        """Hold that pictures are those of the container's times: what is shown when decides every label."""
        expected_s = self._index.times_s[wanted] - self._index.times_s[0]
        apart_s = np.abs(found_s - self._begin_s - expected_s)
        worst = int(apart_s.argmax())
        if apart_s[worst] > _TICK_S:
            raise VideoError(
                f"{self._index.path}: torchcodec shows a picture of {found_s[worst] - self._begin_s:.6f} s "
                f"where the container has one of {expected_s[worst]:.6f} s; use --reader pyav"
            )

    def close(self) -> None:
        self._decoder = None


open_decoder = TorchcodecDecoder


def _open(index: PacketIndex, size: tuple[int, int] | None, threads: int) -> Any:
    """A decoder of the index's stream; ``size`` (height, width) other than the file's: scaled to it."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    stored = (index.height, index.width)
    if index.rotation in (90, 270):
        stored = stored[::-1]
    scaled = [] if size in (None, stored) else [Resize(size)]
    return VideoDecoder(
        str(index.path),
        dimension_order="NHWC",
        stream_index=index.stream,
        num_ffmpeg_threads=threads,
        transforms=scaled,
    )


def _cause(error: Exception) -> str:
    """The first line of torchcodec's message."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return line[:100]
