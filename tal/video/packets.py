"""The packets of a video stream in the order of the file: what demuxing shows, nothing decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

MISSING = int(np.iinfo(np.int64).min)
_COLUMNS = 6
_KEY, _HIDDEN, _SILENT, _DAMAGED = 1, 2, 4, 8
# FFmpeg marks a packet near to where bytes are missing.
_NEAR = 3


@dataclass(frozen=True)
class PacketTable:
    """One row a packet, in file order; stamps are in ticks of the stream, `MISSING` where there is none.

    Attributes
    ----------
    pts, dts, duration, pos, size
        int64 [P]; ``pos`` is the byte where the packet begins.
    key
        bool [P]: decoding can start here.
    hidden
        bool [P]: decoded and not shown: an edit list leaves it out.
    silent
        bool [P]: decoded and gives no picture: VP8's invisible reference pictures.
    damaged
        bool [P]: bytes are missing in it or near it (MPEG-TS).
    lost
        bool [P]: cannot be decoded (`begin_at_key`).
    uncovered
        bool [P]: FFmpeg would hide its picture, wrongly (`uncover_restarts`).
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    duration: NDArray[np.int64]
    pos: NDArray[np.int64]
    size: NDArray[np.int64]
    key: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    damaged: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    uncovered: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def shown(self) -> NDArray[np.intp]:
        """Numbers of the packets that give pictures; int [N], increasing."""
        return np.flatnonzero(~(self.hidden | self.silent | self.lost))

    @property
    def end(self) -> int:
        """The byte behind the last packet; 0 when positions are not known."""
        return int((self.pos + self.size)[self.pos >= 0].max(initial=0))

    def begin_at_key(self) -> PacketTable:
        """Nothing from before the first key frame: a recording that was cut out of a longer one."""
        if not self.key.any():
            return self
        return replace(self, lost=np.arange(len(self)) < np.argmax(self.key))

    def is_cut(self, packets: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each of these packets begins another recording; else only the clock was set."""
        near = [self.damaged[max(0, p - _NEAR) : p + _NEAR].any() for p in packets]
        return self.key[packets] | np.asarray(near, dtype=bool)

    def uncover_restarts(self) -> PacketTable:
        """Fragments of MP4 whose clock starts again: FFmpeg hides the first as if it repeated what was there.

        A fragment that does repeat something is followed by one that goes on with the clock.
        """
        hidden = self.hidden.copy()
        edges = np.flatnonzero(np.diff(hidden.astype(np.int8), prepend=0, append=0))
        for begin, stop in edges.reshape(-1, 2):
            if begin > 0 and stop < len(self) and self.dts[stop] < self.dts[begin - 1]:
                hidden[begin:stop] = False
        return replace(self, hidden=hidden, uncovered=self.hidden & ~hidden)

    def until(self, byte: int) -> PacketTable:
        """The packets that begin before a byte of the file."""
        stop = int(np.argmax(self.pos >= byte)) if (self.pos >= byte).any() else len(self)
        return replace(self, **{name: column[:stop] for name, column in vars(self).items()})


def scan(container: InputContainer, streams: list[av.VideoStream]) -> dict[int, PacketTable]:
    """Demux the file once -> the packets of each stream, by its index.

    Raises
    ------
    av.FFmpegError
        the file is damaged.
    """
    rows: dict[int, list[tuple[int, ...]]] = {s.index: [] for s in streams}
    invisible = {s.index for s in streams if s.codec_context.name.startswith(("vp8", "libvpx"))}
    for packet in container.demux(streams):
        if not packet.size:  # the flush packet at the end, and AVI's empty packets
            continue
        pts, dts, duration, pos = packet.pts, packet.dts, packet.duration, packet.pos
        what = _KEY * packet.is_keyframe + _HIDDEN * packet.is_discard + _DAMAGED * packet.is_corrupt
        if packet.stream_index in invisible and not memoryview(packet)[0] & 0x10:  # RFC 6386, 9.1: show_frame
            what += _SILENT
        rows[packet.stream_index].append(
            (
                MISSING if pts is None else pts,
                MISSING if dts is None else dts,
                duration or 0,
                -1 if pos is None else pos,
                packet.size,
                what,
            )
        )
    return {index: _table(table) for index, table in rows.items()}


def packets_of(container: InputContainer, stream: av.VideoStream, lead: int = 0) -> Iterator[av.Packet]:
    """Packets with something in them, without the first ``lead``: those that a `PacketTable` counts."""
    return islice((p for p in container.demux(stream) if p.size), lead, None)


def _table(rows: list[tuple[int, ...]]) -> PacketTable:
    columns = np.asarray(rows, dtype=np.int64).reshape(-1, _COLUMNS).T
    pts, dts, duration, pos, size, what = (np.ascontiguousarray(column) for column in columns)
    key, hidden, silent, damaged = (what & flag > 0 for flag in (_KEY, _HIDDEN, _SILENT, _DAMAGED))
    none = np.zeros_like(key)
    return PacketTable(pts, dts, duration, pos, size, key, hidden, silent, damaged, none, none)
