"""A copy of a video that every browser plays, each picture at its own time stamp."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.shared.files import put_in_place, require_folder
from tal.video import VideoInfo
from tal.video.index import PacketIndex, read_index
from tal.video.pyav_decoder import PyavDecoder

# Ticks a second: whole for the usual rates, those over 1001 too, and for containers that count milliseconds.
TICKS = 720_000
# Players and this file's readers count microseconds.
MOST_ERROR_S = 2e-6
_SHORT_SIDE = 720
# Short groups: going back picture by picture is quick.
_OPTIONS = {"preset": "veryfast", "crf": "23", "g": "12", "bf": "0", "tune": "zerolatency"}


class ProxyStopped(Exception):
    """The copy is no longer wanted."""


def make_proxy(source: Path, target: Path, done: Callable[[float], None]) -> None:
    """Write the copy, whole or not at all: H.264 in MP4, without sound.

    Where the first picture comes late (sound begins before it), it stands at 0, too: a file of pictures alone
    would begin with it, and all the others would come early.

    Parameters
    ----------
    done
        is told the share that is written; what it raises ends the work.

    Raises
    ------
    VideoError
        the source cannot be read, or the copy has not every time stamp.
    OSError
        the copy cannot be written.
    """
    index = read_index(source)
    require_folder(target.parent)
    with put_in_place(target) as beside:
        decoder = PyavDecoder(index, threads=1)
        try:
            _encode(index, decoder, beside, done)
        finally:
            decoder.close()
        _compare(index, beside)


def _encode(index: PacketIndex, decoder: PyavDecoder, path: Path, done: Callable[[float], None]) -> None:
    width, height = _size(index)
    ticks = np.rint(np.append(_times(index), index.duration_s) * TICKS).astype(np.int64)
    wanted = np.arange(len(ticks) - 1) - (len(ticks) - 1 - len(index.times_s))
    pictures = decoder.pictures(np.maximum(0, wanted), width, height)
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            rate = Fraction(index.fps).limit_denominator(1000)
            stream = container.add_stream("libx264", rate=rate, options=_OPTIONS)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = int(ticks[number]), Fraction(1, TICKS)
                for packet in stream.encode(frame):
                    packet.duration = int(ticks[number + 1] - ticks[number])  # nothing is held back
                    container.mux(packet)
                done((number + 1) / len(wanted))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise VideoError(f"{index.path}: no copy that browsers play can be made: {error}") from error


def _size(index: PacketIndex) -> tuple[int, int]:
    """(width, height), even as 4:2:0 wants them, of at most `_SHORT_SIDE`."""
    info = VideoInfo(
        *(index.path, index.duration_s, index.fps, len(index.times_s), index.width, index.height),
        *(index.rotation, index.codec, index.container, "pyav"),
    )
    width, height = info.scaled(min(_SHORT_SIDE, index.width, index.height))
    return max(2, width // 2 * 2), max(2, height // 2 * 2)


def _times(index: PacketIndex) -> NDArray[np.float64]:
    """When pictures of the copy come; one more than the video has where its first is late."""
    times_s = index.times_s
    return np.insert(times_s, 0, 0.0) if times_s[0] > MOST_ERROR_S else times_s


def _compare(index: PacketIndex, path: Path) -> None:
    times_s, made_s = _times(index), read_index(path).times_s
    if len(made_s) != len(times_s):
        raise VideoError(
            f"{index.path}: its copy for browsers has {len(made_s)} pictures instead of {len(times_s)}"
        )
    error_s = float(np.abs(made_s - times_s).max())
    if error_s > MOST_ERROR_S:
        raise VideoError(f"{index.path}: its copy for browsers is off by {error_s:.6f} s")
