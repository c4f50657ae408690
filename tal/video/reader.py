"""One face over the decoders: pictures by time, whatever the file's rate, start, rotation or edit list."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tal.errors import ConfigError, VideoError
from tal.grid import FrameGrid
from tal.shared.defaults import READERS
from tal.video import decord_decoder, torchcodec_decoder
from tal.video.index import TIME_SLACK_S, PacketIndex, read_index
from tal.video.info import VideoInfo
from tal.video.pyav_decoder import PyavDecoder


class Decoder(Protocol):
    """What every reader is asked for: pictures by index in the packet index."""

    def pictures(self, wanted: NDArray[np.int64], width: int, height: int) -> Iterator[NDArray[np.uint8]]: ...

    def close(self) -> None: ...


# Readers beside PyAV, each with `why_missing`, `why_not` (it must not read a file) and `open_decoder`.
_OTHERS = {"decord": decord_decoder, "torchcodec": torchcodec_decoder}

_KEPT_VERDICTS = 4096
_verdicts: OrderedDict[tuple[str, str, int, int], str] = OrderedDict()
_lock = threading.Lock()


class VideoReader:
    """Random access to a video's pictures by time; opened by `open_video`, a context manager.

    The decoder is opened by the first call of `frames`; an index of key frames lets it start at the key
    frame before each run of wanted pictures. Not safe for use by several threads at once.
    """

    def __init__(self, index: PacketIndex, info: VideoInfo, threads: int) -> None:
        self._index = index
        self.info = info
        self.times_s = index.times_s
        self._threads = threads
        self._decoder: Decoder | None = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def num_frames(self, fps: float) -> int:
        """Frames that sampling at ``fps`` gives: those with k / fps before the end."""
        return FrameGrid(fps).num_frames(self.info.duration_s)

    def pictures_at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index of the picture on screen at each moment; int64.

        Before the first picture comes it is that one, as in players; after the end it is the last.
        """
        # Containers round time stamps: without slack, sampling at the video's own rate would repeat pictures.
        step = self.info.duration_s / self.info.num_frames
        slack = min(TIME_SLACK_S, 0.25 * step)
        at = np.searchsorted(self.times_s, seconds + slack, side="right") - 1
        return np.clip(at, 0, len(self.times_s) - 1).astype(np.int64)

    def frames(
        self, frame_indices: NDArray[np.integer] | Sequence[int], fps: float, size: int | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pictures on screen at k / fps seconds, for any k in any order.

        Parameters
        ----------
        frame_indices
            k, int [n]; outside [0, num_frames(fps)) the picture is black and marked invalid.
        fps
            sampling rate.
        size
            short side of the pictures, aspect kept; None: as stored.

        Returns
        -------
        uint8 [n, H, W, 3] RGB, and bool [n]: whether the frame exists.

        Raises
        ------
        VideoError
            the file is damaged where it is read.
        ConfigError
            a rate that is not above 0.
        """
        grid = FrameGrid(fps)
        wanted = np.asarray(frame_indices, dtype=np.int64).reshape(-1)
        width, height = self.info.scaled(size)
        out = np.zeros((len(wanted), height, width, 3), dtype=np.uint8)
        valid = (wanted >= 0) & (wanted < grid.num_frames(self.info.duration_s))
        if not valid.any():
            return out, valid
        places = np.flatnonzero(valid)
        indices = self.pictures_at(grid.to_seconds(wanted[places]))
        order = np.argsort(indices, kind="stable")
        self._fill(out, places[order], indices[order])
        return out, valid

    def _fill(self, out: NDArray[np.uint8], places: NDArray[np.intp], indices: NDArray[np.int64]) -> None:
        if self._decoder is None:
            self._decoder = self._open_decoder()
        pictures = self._decoder.pictures(indices, out.shape[2], out.shape[1])
        for place, picture in zip(places.tolist(), pictures, strict=True):
            out[place] = picture

    def _open_decoder(self) -> Decoder:
        other = _OTHERS.get(self.info.reader)
        return (PyavDecoder if other is None else other.open_decoder)(self._index, self._threads)


def resolve_reader(reader: str) -> str:
    """The reader that a name means, "pyav", "decord" or "torchcodec": "auto" is PyAV, on every machine.

    Raises
    ------
    ConfigError
        a name that is not a reader's.
    """
    if reader not in READERS:
        raise ConfigError(f"unknown video reader {reader!r}; there are {', '.join(READERS)}")
    return "pyav" if reader == "auto" else reader


def require_reader(reader: str) -> str:
    """`resolve_reader`, of a reader that is installed: asked before work on many videos begins.

    Raises
    ------
    ConfigError
        a name that is not a reader's, or of one that is not installed.
    """
    name = resolve_reader(reader)
    if name in _OTHERS and (reason := _OTHERS[name].why_missing()):
        raise ConfigError(reason)
    return name


def open_video(path: str | os.PathLike[str], reader: str = "auto", threads: int = 1) -> VideoReader:
    """Open a video for reading by time.

    Parameters
    ----------
    reader
        "pyav", which "auto" is too, reads everything; "decord" and "torchcodec" only what they read as the
        container has it.
    threads
        decoding threads; 1 where several workers read at once, 0 lets the library choose.

    Raises
    ------
    VideoError
        the file is missing, empty, truncated, damaged or sound-only, or the reader named gets it wrong; the
        message names file and cause.
    ConfigError
        there is no such reader, or it is not installed.
    """
    name = require_reader(reader)
    index = read_index(Path(path))
    if name in _OTHERS and (reason := _why_not(name, index)):
        raise VideoError(
            f"{path}: cannot be read with {name}: {reason}; use --reader pyav, or re-encode it first with "
            "`longtal prepare --reader pyav`"
        )
    info = VideoInfo(
        path=index.path,
        duration_s=index.duration_s,
        fps=index.fps,
        num_frames=len(index.times_s),
        width=index.width,
        height=index.height,
        rotation=index.rotation,
        codec=index.codec,
        container=index.container,
        reader=name,
        notes=index.notes,
    )
    return VideoReader(index, info, threads)


def _why_not(name: str, index: PacketIndex) -> str:
    """Why a reader must not read a video, kept for each file: training opens one for each clip."""
    key = (name, str(index.path), len(index.pts), int(index.pts[-1]))
    with _lock:
        if key in _verdicts:
            return _verdicts[key]
    verdict = _OTHERS[name].why_not(index)
    with _lock:
        _verdicts[key] = verdict
        while len(_verdicts) > _KEPT_VERDICTS:
            _verdicts.popitem(last=False)
    return verdict
