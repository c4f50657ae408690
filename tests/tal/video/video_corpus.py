"""Makes small videos of many makes, and reads them slowly and surely: what the reader is checked against."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True)
class Make:
    """One kind of file. ``gaps``: picture i lasts gaps[i % len(gaps)] ticks of 1 / (rate * 4) s; None:
    constant. ``mux``: options of the container; ``muxer``: its name where the suffix does not tell it.
    """

    name: str
    codec: str
    container: str = "mp4"
    rate: Fraction = Fraction(25)
    size: tuple[int, int] = (96, 64)
    pictures: int = 48
    gop: int = 12
    gaps: tuple[int, ...] | None = None
    start_ticks: int = 0
    rotation: int = 0
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    mux: dict[str, str] = field(default_factory=dict)
    muxer: str | None = None

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.container}"


_X264 = {"preset": "ultrafast", "bf": "0"}
_B = {"preset": "veryfast", "bf": "2"}
_X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
CORPUS = (
    Make("h264", "libx264", options=_B),
    Make("h264_all_keys", "libx264", gop=1, options=_X264),
    Make("h264_gop300", "libx264", gop=300, pictures=90, options=_B),
    Make("h264_open_gop", "libx264", options={**_B, "x264-params": "open-gop=1"}),
    Make("h264_mkv", "libx264", "mkv", rate=Fraction(30000, 1001), options=_B),
    Make("h264_mov_odd_size", "libx264", "mov", size=(97, 63), pix_fmt="yuv444p", options=_X264),
    Make("h264_vfr", "libx264", gaps=(4, 4, 9, 2, 31, 4), options=_B),
    Make("h264_vfr_mkv", "libx264", "mkv", gaps=(3, 17, 4), options=_X264),
    Make("h264_late_start", "libx264", "mkv", start_ticks=977, options=_B),
    Make("h264_ts", "libx264", "ts", options=_B),
    Make("h264_avi", "libx264", "avi", options=_X264),
    Make("h264_b_avi", "libx264", "avi", options=_B),
    Make("h264_rotated_90", "libx264", rotation=90, options=_X264),
    Make("h264_rotated_180", "libx264", rotation=180, options=_X264),
    Make("h264_rotated_270", "libx264", rotation=270, options=_X264),
    Make("hevc", "libx265", options=_X265),
    Make(
        "hevc_vfr_mkv",
        "libx265",
        "mkv",
        gaps=(4, 11),
        options=_X265,
    ),
    Make("vp9", "libvpx-vp9", "webm", options={"deadline": "realtime", "cpu-used": "8"}),
    Make("vp9_vfr", "libvpx-vp9", "webm", gaps=(4, 4, 30), options={"deadline": "realtime", "cpu-used": "8"}),
    Make("mpeg4", "mpeg4"),
    Make("mpeg4_avi", "mpeg4", "avi"),
    Make("mpeg4_b_avi", "mpeg4", "avi", options={"bf": "2"}),
    Make("mjpeg_avi", "mjpeg", "avi", pix_fmt="yuvj420p"),
    Make("mjpeg_mov", "mjpeg", "mov", pix_fmt="yuvj420p", rate=Fraction(10)),
    Make("mpeg2_mpg", "mpeg2video", "mpg", options={"bf": "2"}),
    Make("one_picture", "libx264", pictures=1, options=_X264),
    Make("fast", "libx264", rate=Fraction(120), options=_X264),
)


def has_encoder(codec: str) -> bool:
    try:
        av.Codec(codec, "w")
    except (av.codec.codec.UnknownCodecError, ValueError):
        return False
    return True


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """A picture like no other of its video: a moving gradient and the number in big binary blocks."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    out = np.stack([(x * 2 + number * 5) % 256, (y * 3 + number * 3) % 256, (x + y + number * 7) % 256], -1)
    side = height // 4
    for bit in range(8):
        row, column = divmod(bit, 4)
        out[row * side : (row + 1) * side, column * side : (column + 1) * side] = 255 * (number >> bit & 1)
    return out.astype(np.uint8)


def make_video(make: Make, folder: Path) -> Path:
    path = folder / make.file_name
    with av.open(str(path), "w", format=make.muxer, options=make.mux) as container:
        stream = container.add_stream(
            make.codec, rate=make.rate, options={**make.options, "g": str(make.gop)}
        )
        stream.width, stream.height = make.size
        stream.pix_fmt = make.pix_fmt
        stream.gop_size = make.gop
        # time stamps finer than the rate, where the container can keep them
        timed = make.gaps is not None or make.start_ticks
        base = 1 / (make.rate * 4) if timed else 1 / make.rate
        stream.codec_context.time_base = base
        if make.rotation:
            stream.set_display_rotation(make.rotation)
        at = make.start_ticks
        for number in range(make.pictures):
            frame = av.VideoFrame.from_ndarray(picture(number, make.size), format="rgb24")
            frame.pts, frame.time_base = at, base
            at += make.gaps[number % len(make.gaps)] if make.gaps else (4 if timed else 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@dataclass(frozen=True)
class Reference:
    """All pictures as shown, uint8, and when they come on screen, seconds from the first."""

    pictures: list[np.ndarray]
    times_s: np.ndarray

    def at(self, seconds: float, slack_s: float) -> np.ndarray:
        """The last picture that is on screen by then: looked for one by one."""
        best = self.pictures[0]
        for time_s, shown in zip(self.times_s, self.pictures, strict=True):
            if time_s > seconds + slack_s:
                break
            best = shown
        return best


def read_slowly(path: Path) -> Reference:
    """Every picture in the order of the decoder's output, first to last; never a seek."""
    pictures, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            pictures.append(turned)
            times.append(None if frame.pts is None else float(frame.pts * stream.time_base))
        rate = float(stream.average_rate)
    increasing = None not in times and all(a < b for a, b in pairwise(times))
    if not increasing:  # AVI keeps no time stamps: pictures follow each other at the file's rate
        times = [i / rate for i in range(len(pictures))]
    return Reference(pictures, np.asarray(times) - times[0])
