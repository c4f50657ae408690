"""Open a video file, and say what its container says of itself and of its video streams."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition

from tal.errors import VideoError

logging.getLogger("libav").setLevel(logging.CRITICAL)  # damaged files are reported once, by VideoError

# A cover, a thumbnail track: pictures about the video.
_BESIDE = Disposition.attached_pic | Disposition.timed_thumbnails
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS, in FFmpeg's avformat.h
_CLOCK_WRAPS = ("mpegts", "mpeg")


@dataclass(frozen=True)
class StreamFacts:
    """What the header says of one video stream; ``duration`` in ticks of ``time_base``.

    Attributes
    ----------
    rate
        pictures a second; None when the header does not say.
    reorders
        its pictures are stored in another order than they are shown in (B-frames).
    promised
        number of packets; 0 when the header does not say.
    tag_end_s
        end that Matroska's tags give for the track.
    """

    index: int
    codec: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction | None
    reorders: bool
    promised: int
    duration: int | None
    tag_end_s: float | None

    @property
    def one_picture(self) -> int:
        """Ticks of one picture by the header's rate; 1 without one."""
        return max(1, round(1 / (self.rate * self.time_base))) if self.rate else 1

    def __str__(self) -> str:
        return f"stream {self.index} ({self.codec}, {self.width}x{self.height})"


@dataclass(frozen=True)
class FileFacts:
    """What the container says: ``start_s`` is the earliest time stamp of its sound and pictures.

    ``clockless``: a bare stream of pictures (.h264, .mjpeg) without time stamps. ``clock_wraps``: MPEG-TS and
    MPEG-PS, whose clock has 33 bits and may start again. ``by_byte``: reading can begin at any packet's byte.
    ``only_pictures``: no sound in it.
    """

    format: str
    start_s: float | None
    duration_s: float | None
    clockless: bool
    clock_wraps: bool
    by_byte: bool
    only_pictures: bool


def open_container(path: Path, **options: str) -> InputContainer:
    """Open a file for reading.

    Raises
    ------
    VideoError
        the file is not a video that FFmpeg can read.
    """
    try:
        return av.open(str(path), metadata_errors="replace", options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: not a readable video ({cause(error)})") from error


def open_stream(path: Path, index: int) -> tuple[InputContainer, av.VideoStream]:
    """Open a file and one of its streams, as `video_streams` found it."""
    container = open_container(path)
    stream = container.streams[index]
    assert isinstance(stream, av.VideoStream)
    return container, stream


def video_streams(path: Path, container: InputContainer) -> list[av.VideoStream]:
    """The video streams that are not covers or thumbnails, the one that FFmpeg holds for the best first.

    FFmpeg prefers by disposition, then by number of pictures found while probing, then by bit rate
    (av_find_best_stream).
    """
    streams = [s for s in container.streams.video if not s.disposition & _BESIDE and s.time_base]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise VideoError(f"{path}: no video stream in it (it holds {kinds})")
    readable = [s for s in streams if s.codec_context is not None]
    if not readable:
        raise VideoError(f"{path}: no decoder for its codec")
    best = container.streams.best("video")
    first = best.index if best is not None else -1
    return sorted(readable, key=lambda s: s.index != first)


def stream_facts(stream: av.VideoStream, clockless: bool) -> StreamFacts:
    """Read before the container is closed: PyAV's streams point into it."""
    context = stream.codec_context
    assert stream.time_base is not None
    # A bare stream's average rate is FFmpeg's assumption; what the codec's own header says is better.
    rates = (
        (stream.guessed_rate, stream.average_rate)
        if clockless
        else (stream.average_rate, stream.guessed_rate)
    )
    return StreamFacts(
        index=stream.index,
        codec=context.name,
        width=context.width,
        height=context.height,
        time_base=stream.time_base,
        rate=next((r for r in rates if r), None),
        reorders=bool(context.has_b_frames),
        promised=stream.frames,
        duration=stream.duration,
        tag_end_s=_seconds(stream.metadata.get("DURATION", "")),
    )


def file_facts(container: InputContainer) -> FileFacts:
    start, duration = container.start_time, container.duration
    clockless = bool(container.format.flags & _NO_TIMESTAMPS)
    return FileFacts(
        format=container.format.name,
        start_s=None if start is None else start / av.time_base,
        duration_s=None if duration is None else duration / av.time_base,
        clockless=clockless,
        clock_wraps=container.format.name in _CLOCK_WRAPS,
        by_byte=clockless or container.format.name in (*_CLOCK_WRAPS, "flv"),
        only_pictures=not container.streams.audio,
    )


def cause(error: Exception) -> str:
    """The library's message without its error number and without the path again."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".")


def _seconds(text: str) -> float | None:
    """``00:00:09.960000000`` in seconds."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None
