"""Index of a video's pictures: time stamps and key frames, from packets alone; one picture is decoded.

Demuxing reads the file once; the index of a file that did not change is kept in memory (a few hundred
kilobytes for an hour), so that a loader worker which comes back to a video pays nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from tal.errors import VideoError

log = logging.getLogger("longtal.video")
logging.getLogger("libav").setLevel(logging.CRITICAL)  # damaged files are reported once, by VideoError

# A container's header may round; fewer pictures than this share of what it promises is a truncated file.
_TRUNCATED_BELOW = 0.9
_CACHED_INDEXES = 256
# Formats whose header counts the video's packets exactly.
_EXACT_COUNT = ("mov,mp4,m4a,3gp,3g2,mj2",)
# Below this many milliseconds a time stamp is a rounding of the container (Matroska, FLV: 1 ms).
TIME_SLACK_S = 1e-3


@dataclass(frozen=True)
class PacketIndex:
    """Pictures in the order of display, and where decoding can start.

    Attributes
    ----------
    pts
        int64 [N], strictly increasing, in units of ``time_base``; hidden by an edit list are left out.
    key_pts, key_dts
        int64 [K], stamps to seek to.
    key_pictures
        int64 [K], increasing: the index of the first picture that key frame k lets one decode.
    counted
        the packets' stamps do not tell pictures apart (AVI keeps none, so with B-frames they are wrong):
        pictures are told by their place in the decoder's output.
    hidden
        packets that the edit list hides.
    open_groups
        pictures shown before a key frame are stored after it, and need the group before.
    """

    path: Path
    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    key_pictures: NDArray[np.int64]
    time_base: Fraction
    last_duration: int
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    counted: bool
    hidden: int
    open_groups: bool

    @property
    def times_s(self) -> NDArray[np.float64]:
        """When each picture comes on screen, seconds from the first one; float64 [N]."""
        return (self.pts - self.pts[0]) * float(self.time_base)

    @property
    def duration_s(self) -> float:
        return float((self.pts[-1] - self.pts[0] + self.last_duration) * self.time_base)


_cache: OrderedDict[tuple[str, int, int], PacketIndex] = OrderedDict()
_cache_lock = threading.Lock()


def read_index(path: Path) -> PacketIndex:
    """The index of a file, from memory when the file did not change.

    Raises
    ------
    VideoError
        no such file, not a video, no picture in it, truncated, or the first picture cannot be decoded.
    """
    try:
        stat = os.stat(path)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror})") from error
    key = (os.fspath(path), stat.st_mtime_ns, stat.st_size)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    if stat.st_size == 0:
        raise VideoError(f"{path}: the file is empty")
    index = _build(path)
    with _cache_lock:
        _cache[key] = index
        while len(_cache) > _CACHED_INDEXES:
            _cache.popitem(last=False)
    return index


def open_container(path: Path) -> tuple[InputContainer, av.VideoStream]:
    """Open a file and find its video stream (an attached cover picture is none)."""
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: not a readable video ({_cause(error)})") from error
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        container.close()
        raise VideoError(f"{path}: no video stream in it (it holds {kinds})")
    return container, streams[0]


def _build(path: Path) -> PacketIndex:
    container, stream = open_container(path)
    with container:
        context, time_base = stream.codec_context, stream.time_base
        if context is None or time_base is None:
            raise VideoError(f"{path}: no decoder for its codec")
        # read before the container is closed: PyAV's streams point into it
        codec, format_name, one_frame = context.name, container.format.name, _one_frame(stream)
        reorders = bool(context.has_b_frames)
        try:
            packets = _scan(container, stream)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: damaged ({_cause(error)})") from error
        if not len(packets.pts) and not packets.hidden:
            raise VideoError(f"{path}: no pictures in its video stream")
        _check_complete(path, container, stream, packets)
    rotation, width, height = _first_picture(path)
    counted = not packets.timed or (format_name == "avi" and reorders)
    keys = packets.keys[np.argsort(packets.keys[:, 0], kind="stable")]
    pts = np.unique(packets.pts)
    if counted:
        log.info("%s: its packets do not tell their pictures' times; decoded once to count them", path)
        num_pictures, key_pictures = _count_pictures(path)
        step = int(np.median(np.diff(pts))) if len(pts) > 1 else one_frame
        if len(pts) != num_pictures:
            pts = np.arange(num_pictures, dtype=np.int64) * max(1, step)
        if len(keys) != len(key_pictures):  # no way to tell which is which: always from the start
            keys, key_pictures = keys[:0], key_pictures[:0]
    else:
        key_pictures = np.searchsorted(pts, keys[:, 0])
    if not len(pts):
        raise VideoError(f"{path}: no pictures can be decoded from it")
    steps = np.diff(pts)
    return PacketIndex(
        path=path,
        pts=pts,
        key_pts=keys[:, 0],
        key_dts=keys[:, 1],
        key_pictures=key_pictures,
        time_base=time_base,
        last_duration=int(np.median(steps)) if len(steps) else one_frame,
        width=width,
        height=height,
        rotation=rotation,
        codec=codec,
        container=format_name,
        counted=counted,
        hidden=packets.hidden,
        open_groups=packets.open_groups,
    )


@dataclass(frozen=True)
class _Packets:
    """The result of demuxing: pts of shown pictures, keys [K, (pts, dts)], counts, facts about packets."""

    pts: NDArray[np.int64]
    keys: NDArray[np.int64]
    hidden: int
    timed: bool
    open_groups: bool


def _scan(container: InputContainer, stream: av.VideoStream) -> _Packets:
    pts: list[int] = []
    keys: list[tuple[int, int]] = []
    hidden = 0
    timed, open_groups = True, False
    for packet in container.demux(stream):
        if not packet.size:  # the flush packet at the end, and AVI's empty packets
            continue
        timed = timed and packet.pts is not None
        stamp = packet.pts if packet.pts is not None else packet.dts or 0
        if packet.is_keyframe:
            keys.append((stamp, packet.dts if packet.dts is not None else stamp))
        elif keys and len(keys) > 1 and stamp < keys[-1][0]:
            open_groups = True
        if packet.is_discard:
            hidden += 1
        else:
            pts.append(stamp)
    table = np.asarray(keys, dtype=np.int64).reshape(-1, 2)
    return _Packets(np.asarray(pts, dtype=np.int64), table, hidden, timed, open_groups)


def _check_complete(path: Path, container: InputContainer, stream: av.VideoStream, packets: _Packets) -> None:
    """Raise when the header promises clearly more than the file holds."""
    promised, found = stream.frames, len(packets.pts) + packets.hidden
    exact = container.format.name in _EXACT_COUNT
    if promised and found < (promised if exact else _TRUNCATED_BELOW * promised):
        raise VideoError(f"{path}: truncated: the header promises {promised} pictures, {found} are there")
    if not packets.timed or container.duration is None or stream.time_base is None or promised:
        return
    # Matroska's duration counts from zero, others' from the start
    end_s = float(packets.pts.max() * stream.time_base)
    whole_s = container.duration / av.time_base
    enough_s = min(_TRUNCATED_BELOW * whole_s, whole_s - 0.5)
    if end_s < enough_s and _last_time_s(path) < enough_s:
        raise VideoError(f"{path}: truncated: the header promises {whole_s:.1f} s, {end_s:.1f} s are there")


def _last_time_s(path: Path) -> float:
    """Latest time stamp of any stream: a sound track may honestly outlast the pictures."""
    container, _ = open_container(path)
    with container:
        last = 0.0
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                last = max(last, float(packet.pts * packet.time_base))
        return last


def _first_picture(path: Path) -> tuple[int, int, int]:
    """Decode one picture -> (rotation counter-clockwise in degrees, width, height as shown)."""
    container, stream = open_container(path)
    with container:
        try:
            frame = next(iter(container.decode(stream)), None)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: its first picture cannot be decoded ({_cause(error)})") from error
        if frame is None:
            raise VideoError(f"{path}: no pictures can be decoded from it")
        rotation = round(frame.rotation / 90) * 90 % 360
        width, height = frame.width, frame.height
    return (rotation, height, width) if rotation in (90, 270) else (rotation, width, height)


def _count_pictures(path: Path) -> tuple[int, NDArray[np.int64]]:
    """Decode everything -> (number of pictures, which of them are key frames)."""
    container, stream = open_container(path)
    keys = []
    count = 0
    with container:
        stream.thread_type = "AUTO"
        try:
            for frame in container.decode(stream):
                if frame.key_frame:
                    keys.append(count)
                count += 1
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: damaged ({_cause(error)})") from error
    return count, np.asarray(keys, dtype=np.int64)


def _one_frame(stream: av.VideoStream) -> int:
    rate = stream.average_rate or stream.guessed_rate
    assert stream.time_base is not None
    return max(1, round(1 / (rate * stream.time_base))) if rate else 1


def _cause(error: Exception) -> str:
    """The library's message without its error number and without the path again."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".")
