"""Write H.264 mp4 files: the same bytes for the same pictures, and never half a file under the final name."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError


class VideoWriter:
    """Context manager: ``add`` takes uint8 pictures [H, W, 3] RGB; the file appears when all are written.

    Parameters
    ----------
    fps
        pictures a second, kept exactly as a fraction (29.97 becomes 30000/1001).
    gop
        pictures between key frames: short groups make random access cheap.
    threads
        1 gives the same bytes on every machine.
    """

    def __init__(
        self, path: Path, fps: float, gop: int = 15, crf: int = 20, preset: str = "veryfast", threads: int = 1
    ) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._rate = exact_rate(fps)
        self._options = {
            "crf": str(crf),
            "preset": preset,
            "g": str(gop),
            "threads": str(threads),
            # x264's macroblock tree reads memory that it has not written at widths such as 48, 96 or 112:
            # the same pictures gave other bytes on every run
            "x264-params": "mbtree=0",
        }
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> VideoWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._part), "w", format="mp4")
        except OSError as error:
            raise VideoError(f"{self.path} cannot be written: {error.strerror or error}") from error
        return self

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append one picture; all must have the size of the first. H.264 in 4:2:0 wants even sides."""
        assert self._container is not None
        try:
            if self._stream is None:
                height, width = picture.shape[:2]
                stream = self._container.add_stream("libx264", rate=self._rate, options=self._options)
                assert isinstance(stream, av.VideoStream)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                self._stream = stream
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"{self.path} cannot be written: {error}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._container is not None
        try:
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if kind is None and self._stream is not None:
                os.replace(self._part, self.path)
        except (OSError, av.FFmpegError) as failure:
            raise VideoError(f"{self.path} cannot be written: {failure}") from failure
        finally:
            self._part.unlink(missing_ok=True)


def exact_rate(fps: float) -> Fraction:
    """A rate as the fraction that containers use: whole, over 1001, or with a small denominator."""
    for denominator in (1, 1001):
        numerator = fps * denominator / (1 if denominator == 1 else 1000)
        if abs(numerator - round(numerator)) < 1e-3:
            return Fraction(round(numerator) * (1 if denominator == 1 else 1000), denominator)
    return Fraction(fps).limit_denominator(1000)
