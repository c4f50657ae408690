"""Makes videos as real recorders leave them: clocks that start again, edit lists, late and long pictures.

A picture is one grey, so that a picture tells its number. Sound is silence.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_FORMATS = {"wmv": "asf", "mpg": "mpeg", "mts": "mpegts", "m2v": "mpeg2video"}
_CODECS = {
    "webm": "libvpx",
    "wmv": "wmv2",
    "avi": "mpeg4",
    "mpg": "mpeg2video",
    "vob": "mpeg2video",
    "m2v": "mpeg2video",
}
_SOUND = {"wmv": ("wmav2", 44100), "mpg": ("mp2", 48000), "vob": ("mp2", 48000)}


@dataclass(frozen=True)
class Recording:
    """What to record; ``late``: pictures by which the first is late; ``last_s``: how long the last stays."""

    greys: Sequence[int]
    fps: int = 25
    b_frames: int = 0
    gop: int = 12
    size: tuple[int, int] = (64, 48)
    late: int = 0
    last_s: float = 0.0
    sound_s: float = 0.0
    mux: dict[str, str] = field(default_factory=dict)


def record(path: Path, what: Recording, codec: str = "") -> Path:
    """Write a recording; container and codec follow from the suffix."""
    suffix = path.suffix[1:]
    with av.open(str(path), "w", format=_FORMATS.get(suffix), options=what.mux) as container:
        video = _video(container, codec or _CODECS.get(suffix, "libx264"), what)
        sound = container.add_stream(*_SOUND.get(suffix, ("aac", 16000))) if what.sound_s else None
        if sound is not None:
            sound.bit_rate = 64_000
        packets = [
            p for n, grey in enumerate(what.greys) for p in video.encode(_frame(grey, n + what.late, what))
        ]
        packets += video.encode()
        if what.last_s:
            packets[-1].duration = round(what.last_s / packets[-1].time_base)
        container.mux(packets)
        if sound is not None:
            _silence(container, sound, what.sound_s)
    return path


def _video(container: av.container.OutputContainer, codec: str, what: Recording) -> av.VideoStream:
    options = {"g": str(what.gop), "bf": str(what.b_frames)}
    if codec == "libx264":
        options |= {"preset": "veryfast", "sc_threshold": "0"}  # no key frames but one a group
    elif codec != "libvpx":
        options |= {"qmin": "1", "qmax": "2"}
    stream = container.add_stream(codec, rate=what.fps, options=options)
    stream.width, stream.height = what.size
    stream.pix_fmt = "yuv420p"
    return stream


def _frame(grey: int, pts: int, what: Recording) -> av.VideoFrame:
    width, height = what.size
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), grey, np.uint8), format="rgb24")
    frame.pts, frame.time_base = pts, Fraction(1, what.fps)
    return frame


def _silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    planar = stream.codec_context.format.name == "fltp"
    kind, samples = (
        ("fltp", np.zeros((1, 1024), np.float32)) if planar else ("s16", np.zeros((1, 1024), np.int16))
    )
    for start in range(0, int(stream.rate * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
        frame.sample_rate, frame.pts = stream.rate, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def put_together(path: Path, *parts: Path) -> Path:
    """What `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


Stamps = tuple[int, int]  # when a picture is shown, when it is decoded


def restamp(path: Path, out: Path, change: Callable[[int, int, int], Stamps | None]) -> Path:
    """Rewrite the clock of an MPEG-TS or MPEG-PS file (ISO/IEC 13818-1, 2.4.3.7).

    ``change`` takes a packet's number and stamps and gives new stamps; None takes them out.
    """
    data = bytearray(path.read_bytes())
    at = number = 0
    while (at := data.find(b"\0\0\1\xe0", at)) >= 0:
        if data[at + 6] & 0xC0 == 0x80 and data[at + 7] & 0x80:
            both = bool(data[at + 7] & 0x40)
            shown = _stamp(data, at + 9)
            new = change(number, shown, _stamp(data, at + 14) if both else shown)
            if new is None:
                data[at + 7] &= 0x3F
                data[at + 9 : at + 9 + 5 * (1 + both)] = b"\xff" * 5 * (1 + both)
            else:
                _put_stamp(data, at + 9, new[0])
                if both:
                    _put_stamp(data, at + 14, new[1])
            number += 1
        at += 4
    out.write_bytes(data)
    return out


def _stamp(data: bytearray, at: int) -> int:
    five = data[at : at + 5]
    return (five[0] >> 1 & 7) << 30 | five[1] << 22 | (five[2] >> 1) << 15 | five[3] << 7 | five[4] >> 1


def _put_stamp(data: bytearray, at: int, stamp: int) -> None:
    stamp &= (1 << 33) - 1
    data[at : at + 5] = bytes(
        [
            data[at] & 0xF1 | (stamp >> 30 & 7) << 1,
            stamp >> 22 & 255,
            (stamp >> 15 & 127) << 1 | 1,
            stamp >> 7 & 255,
            (stamp & 127) << 1 | 1,
        ]
    )


def edit(path: Path, out: Path, edits: Sequence[tuple[float, float | None]]) -> Path:
    """Give the first track of an MP4 file an edit list (ISO/IEC 14496-12, 8.6.6), as trimming does.

    ``edits``: seconds, and where in the media they begin; None: nothing is shown. The header must lie behind
    the media, as FFmpeg writes it, so that no other offset changes.
    """
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        scale = container.streams[0].time_base.denominator
    at = data.index(b"elst")
    entries = struct.unpack_from(">I", data, at + 8)[0]
    zero = struct.unpack_from(">i", data, at + 12 + 12 * (entries - 1) + 4)[0]
    body = b"".join(
        struct.pack(">IiI", round(1000 * long), -1 if start is None else zero + round(start * scale), 1 << 16)
        for long, start in edits
    )
    box = struct.pack(">I4sII", 16 + len(body), b"elst", 0, len(edits)) + body
    old = struct.unpack_from(">I", data, at - 4)[0]
    for parent in (b"edts", b"trak", b"moov"):
        begin = data.rindex(parent, 0, at) - 4
        struct.pack_into(">I", data, begin, struct.unpack_from(">I", data, begin)[0] + len(box) - old)
    data[at - 4 : at - 4 + old] = box
    out.write_bytes(data)
    return out
