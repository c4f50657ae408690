"""Decode chosen pictures with PyAV: from the key frame before each run of them, and no further."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, dropwhile

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.container import open_stream
from tal.video.index import PacketIndex
from tal.video.packets import packets_of
from tal.video.renumber import LostPlaceError

# Decoding on is cheaper than a seek (which drains the decoder) across this many unwanted pictures.
_DECODE_ON = 12
# Key frames to go back where a stream has none but is refreshed bit by bit from one such place to the next.
_REFRESHED = 2
# Decoders may drop a picture or two at the very end of a stream.
_SWALLOWED = 2


class _NoKeyFrameError(Exception):
    """The key frame that was sought is only where a gradual refresh begins: what follows is not whole yet."""


class PyavDecoder:
    """Gives pictures by their index in the packet index; remembers its place, so that reading on is cheap."""

    def __init__(self, index: PacketIndex, threads: int = 1) -> None:
        self._index = index
        self._container, self._stream = open_stream(index.path, index.stream)
        self._threads = threads
        self._seekable = True
        self._refreshed_by = 0
        self._set_threads()
        self._frames: Iterator[tuple[int, av.VideoFrame]] | None = None  # picture index, picture
        self._next = -1  # the decoder gives no picture before this one; -1: it has not started
        self._shown: av.VideoFrame | None = None  # the last picture that came
        self._shown_index = -1
        self._reformatter = av.video.reformatter.VideoReformatter()

    def _set_threads(self) -> None:
        self._context = self._stream.codec_context
        self._context.thread_count = self._threads
        self._context.thread_type = "AUTO" if self._threads != 1 else "SLICE"

    def pictures(self, wanted: NDArray[np.int64], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures [height, width, 3] RGB for picture indices in increasing order (repeats allowed)."""
        last, picture = -1, None
        for target in wanted.tolist():
            if picture is None or target != last:
                picture = self._convert(self._fetch(target), width, height)
                last = target
            yield picture

    def close(self) -> None:
        self._frames = None
        self._shown = None
        self._container.close()

    def _fetch(self, target: int) -> av.VideoFrame:
        if target == self._shown_index and self._shown is not None:
            return self._shown
        keys = self._index.key_pictures
        key = int(np.searchsorted(keys, target, side="right")) - 1
        start = int(keys[key]) if key >= 0 else 0
        on = 0 <= self._next <= target and (start <= self._next or target - self._next <= _DECODE_ON)
        try:
            if not on:
                self._seek(key)
            return self._decode_to(target)
        except _NoKeyFrameError:
            self._refreshed_by = _REFRESHED
            self._seek(key)
            return self._decode_to(target)
        except LostPlaceError:
            return self._from_start(target)
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, VideoError):
                raise
            at_s = self._index.times_s[target]
            raise VideoError(f"{self._index.path}: damaged near {at_s:.2f} s ({error})") from error

    def _from_start(self, target: int) -> av.VideoFrame:
        """Never seek again in this file, where reading goes on differently after a seek."""
        self._seekable = False
        self._start()
        try:
            return self._decode_to(target)
        except LostPlaceError as error:
            raise VideoError(f"{self._index.path}: changed while it was read") from error

    def _decode_to(self, target: int) -> av.VideoFrame:
        """Decode until the target comes.

        A picture that the decoder leaves out is replaced by the one before it.
        """
        assert self._frames is not None
        for index, frame in self._frames:
            before = self._shown
            self._shown, self._shown_index, self._next = frame, index, index + 1
            if index == target or (index > target and before is None):
                return frame
            if index > target and before is not None:
                return before
        self._next = -1
        if self._shown is not None and self._shown_index >= target - _SWALLOWED:
            return self._shown
        at_s = self._index.times_s[target]
        raise VideoError(f"{self._index.path}: damaged: its pictures end before {at_s:.2f} s")

    def _seek(self, key: int) -> None:
        """Start decoding at key frame ``key``, or earlier where the container's seek ends earlier."""
        key -= self._refreshed_by
        for back in range(key, max(-1, key - 3), -1) if self._seekable else ():
            for offset, is_byte in self._ways(back):
                try:
                    self._container.seek(
                        offset, stream=self._stream, backward=True, unsupported_byte_offset=is_byte
                    )
                except av.FFmpegError:  # the container has no such way in
                    continue
                packets = packets_of(self._container, self._stream)
                first = next((p for p in packets if p.is_keyframe), None)
                landed = -1 if first is None else self._key_at(first)
                if first is not None and 0 <= landed <= key:
                    self._begin(chain((first,), packets), landed)
                    return
        self._start()

    def _ways(self, key: int) -> Iterator[tuple[int, bool]]:
        """Offsets to seek to for a key frame: (byte or stamp, whether it is a byte)."""
        index = self._index
        if index.numbering is not None and index.numbering.by_byte:
            at = int(index.numbering.table.pos[index.numbering.keys[key]])
            if at >= 0:
                yield at, True
        for stamp in dict.fromkeys((int(index.key_pts[key]), int(index.key_dts[key]))):
            yield stamp, False

    def _start(self) -> None:
        """Decode from the start of the file."""
        self._container.close()
        self._container, self._stream = open_stream(self._index.path, self._index.stream)
        self._set_threads()
        self._begin(packets_of(self._container, self._stream, self._index.lead), -1)

    def _begin(self, packets: Iterable[av.Packet], key: int) -> None:
        """Decode packets that begin with key frame ``key``; -1: with the file's first."""
        index = self._index
        self._shown, self._shown_index = None, -1
        self._next = int(index.key_pictures[key]) if key >= 0 else 0
        self._place = index.lead if key < 0 or index.numbering is None else int(index.numbering.keys[key])
        self._frames = self._numbered(packets, self._next)

    def _key_at(self, packet: av.Packet) -> int:
        """Which key frame a packet is; -1 for none that the index knows."""
        if self._index.numbering is not None:
            return self._index.numbering.key_at(packet)
        stamp = packet.pts if packet.pts is not None else packet.dts
        at = int(np.searchsorted(self._index.key_pts, stamp)) if stamp is not None else -1
        known = 0 <= at < len(self._index.key_pts) and self._index.key_pts[at] == stamp
        return at if known else -1

    def _numbered(self, packets: Iterable[av.Packet], start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode packets -> (picture index, picture), in the order of display."""
        index = self._index
        if index.counted:
            # what comes before the key frame itself belongs to the group before it
            decoded = self._decode(packets)
            yield from enumerate(dropwhile(lambda f: start > 0 and not f.key_frame, decoded), start)
            return
        stamped = packets if index.numbering is None else index.numbering.renumbered(packets, self._place)
        doubtful = start > 0 and self._context.name == "h264" and not self._refreshed_by
        for frame in self._decode(stamped):
            at = int(np.searchsorted(index.pts, frame.pts)) if frame.pts is not None else len(index.pts)
            if at < len(index.pts) and index.pts[at] == frame.pts:
                if doubtful and at >= start:
                    doubtful = False
                    if at > start or not (frame.key_frame or frame.pict_type == PictureType.I):
                        raise _NoKeyFrameError
                yield at, frame

    def _decode(self, packets: Iterable[av.Packet | None]) -> Iterator[av.VideoFrame]:
        """Pictures of packets; None empties the decoder."""
        for packet in packets:
            yield from self._context.decode(packet)
            if packet is None:
                self._context.flush_buffers()
        yield from self._context.decode(None)

    def _convert(self, frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        rotation = self._index.rotation
        if rotation in (90, 270):
            width, height = height, width
        small = self._reformatter.reformat(frame, width, height, format="rgb24", interpolation="BILINEAR")
        picture = np.asarray(small.to_ndarray(), dtype=np.uint8)
        return np.ascontiguousarray(np.rot90(picture, rotation // 90)) if rotation else picture


def refreshes_gradually(index: PacketIndex) -> bool:
    """Whether the second key frame of a video is only where a refresh begins, picture by picture."""
    if len(index.key_pictures) < 2:
        return False
    decoder = PyavDecoder(index)
    try:
        decoder._fetch(int(index.key_pictures[1]))
        return decoder._refreshed_by > 0
    finally:
        decoder.close()
