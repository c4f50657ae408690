"""Decode chosen pictures with PyAV: from the key frame before each run of them, and no further."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, dropwhile

import av
import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.index import PacketIndex, open_container

# Decoding on is cheaper than a seek (which drains the decoder) across this many unwanted pictures.
_DECODE_ON = 12
# Decoders may drop a picture or two at the very end of a stream.
_SWALLOWED = 2


class PyavDecoder:
    """Gives pictures by their index in the packet index; remembers its place, so that reading on is cheap."""

    def __init__(self, index: PacketIndex, threads: int = 1) -> None:
        self._index = index
        self._container, self._stream = open_container(index.path)
        self._threads = threads
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
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, VideoError):
                raise
            at_s = self._index.times_s[target]
            raise VideoError(f"{self._index.path}: damaged near {at_s:.2f} s ({error})") from error

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
        index = self._index
        self._shown, self._shown_index = None, -1
        for back in range(key, max(-1, key - 3), -1):
            for stamp in dict.fromkeys((int(index.key_pts[back]), int(index.key_dts[back]))):
                self._container.seek(stamp, stream=self._stream, backward=True)
                packets = self._container.demux(self._stream)
                first = next((p for p in packets if p.is_keyframe and p.size), None)
                landed = -1 if first is None else self._key_at(first)
                if first is not None and 0 <= landed <= key:
                    self._next = int(index.key_pictures[landed])
                    self._frames = self._numbered(chain((first,), packets), self._next)
                    return
        self._container.close()  # no usable seek table: read from the start
        self._container, self._stream = open_container(index.path)
        self._set_threads()
        self._frames = self._numbered(self._container.demux(self._stream), 0)
        self._next = 0

    def _key_at(self, packet: av.Packet) -> int:
        """Which key frame a packet is; -1 for none that the index knows."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        at = int(np.searchsorted(self._index.key_pts, stamp)) if stamp is not None else -1
        known = 0 <= at < len(self._index.key_pts) and self._index.key_pts[at] == stamp
        return at if known else -1

    def _numbered(self, packets: Iterable[av.Packet], start: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode packets -> (picture index, picture), in the order of display."""
        pts = self._index.pts
        if self._index.counted:
            # what comes before the key frame itself belongs to the group before it
            decoded = self._decode(packets)
            yield from enumerate(dropwhile(lambda f: start > 0 and not f.key_frame, decoded), start)
            return
        for frame in self._decode(packets):
            index = int(np.searchsorted(pts, frame.pts)) if frame.pts is not None else len(pts)
            if index < len(pts) and pts[index] == frame.pts:
                yield index, frame

    def _decode(self, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
        for packet in packets:
            if packet.size:
                yield from self._context.decode(packet)
        yield from self._context.decode(None)

    def _convert(self, frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        rotation = self._index.rotation
        if rotation in (90, 270):
            width, height = height, width
        small = self._reformatter.reformat(frame, width, height, format="rgb24", interpolation="BILINEAR")
        picture = np.asarray(small.to_ndarray(), dtype=np.uint8)
        return np.ascontiguousarray(np.rot90(picture, rotation // 90)) if rotation else picture
