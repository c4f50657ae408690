"""Pictures of a file whose time stamps cannot tell them apart: known by the place of their packet.

Packets are counted from a known place on, and each is given its picture's number as time stamp before it is
decoded; a decoder hands that on to the picture that comes out, whatever the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.container import cause, open_stream
from tal.video.packets import MISSING, PacketTable, packets_of


class LostPlaceError(Exception):
    """Reading goes on differently after a seek than from the start: the numbers do not hold."""


@dataclass(frozen=True)
class Numbering:
    """Which picture each packet gives.

    Attributes
    ----------
    table
        the packets [P].
    picture
        int64 [P], number of the picture in the order of display; -1: none is shown.
    first_of_part
        bool [P]: the decoder is emptied before this packet.
    keys
        int64 [K], increasing: packets where decoding can start.
    key_pictures
        int64 [K], strictly increasing: the first picture that each lets one decode.
    by_byte
        the container can be entered at any byte.
    """

    table: PacketTable
    picture: NDArray[np.int64]
    first_of_part: NDArray[np.bool_]
    keys: NDArray[np.int64]
    key_pictures: NDArray[np.int64]
    by_byte: bool

    def key_at(self, packet: av.Packet) -> int:
        """Which key frame a packet is; -1 when that is not sure."""
        table, keys = self.table, self.keys
        same = table.size[keys] == packet.size
        if packet.pts is not None:
            same &= (table.pts[keys] == packet.pts) | (table.pts[keys] == MISSING)
        if packet.pos is not None:
            same &= (table.pos[keys] == packet.pos) | (table.pos[keys] < 0)
        found = np.flatnonzero(same)
        return int(found[0]) if len(found) == 1 else -1

    def renumbered(self, packets: Iterable[av.Packet], number: int) -> Iterator[av.Packet | None]:
        """As `renumber`, from packet ``number`` on."""
        return renumber(packets, self.table, self.picture, self.first_of_part, number)


def renumber(
    packets: Iterable[av.Packet],
    table: PacketTable,
    picture: NDArray[np.int64],
    first_of_part: NDArray[np.bool_],
    number: int,
) -> Iterator[av.Packet | None]:
    """Packets from ``number`` on, with their picture's number as time stamp; None between parts.

    Raises
    ------
    LostPlaceError
        a packet is not the one that has this number, or they end too early.
    """
    begun = number
    for packet in islice((p for p in packets if p.size), len(table) - number):
        stamp = int(table.pts[number])
        same = packet.pts is None or stamp in (MISSING, packet.pts)
        if packet.size != table.size[number] or not same:
            raise LostPlaceError
        if first_of_part[number] and number > begun:
            yield None
        packet.pts = int(picture[number]) if picture[number] >= 0 else None
        if not table.lost[number]:
            yield _uncovered(packet) if table.uncovered[number] else packet
        number += 1
    if number < len(table):
        raise LostPlaceError


def _uncovered(packet: av.Packet) -> av.Packet:
    """The packet without its mark that its picture is to be hidden, which cannot be taken off."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    return copy


def number_pictures(
    table: PacketTable, order: NDArray[np.int64], parts: NDArray[np.int64], by_byte: bool
) -> Numbering:
    """Numbering for packets ``order`` [N] in the order of display; ``parts``: packets that begin one."""
    picture = np.full(len(table), -1, dtype=np.int64)
    picture[order] = np.arange(len(order))
    first_of_part = _marked(table, parts)
    keys = np.flatnonzero(table.key)
    firsts = [_first_picture(table, picture, a, b) for a, b in pairwise([*keys.tolist(), len(table)])]
    key_pictures = np.asarray(firsts, dtype=np.int64)
    highest = np.maximum.accumulate(np.concatenate([[-1], key_pictures]))[:-1]
    kept = key_pictures > highest
    return Numbering(table, picture, first_of_part, keys[kept], key_pictures[kept], by_byte)


def _first_picture(table: PacketTable, picture: NDArray[np.int64], key: int, stop: int) -> int:
    """First picture that can be decoded from a key frame on; hidden ones have none of their own."""
    if picture[key] >= 0:
        return int(picture[key])
    after = (picture[key:stop] >= 0) & (table.pts[key:stop] >= table.pts[key])
    return int(picture[key:stop][after].min()) if after.any() else -1


def _marked(table: PacketTable, packets: NDArray[np.int64]) -> NDArray[np.bool_]:
    marked = np.zeros(len(table), dtype=bool)
    marked[packets] = True
    return marked


def decode_order(
    path: Path, stream_index: int, table: PacketTable, parts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Decode everything -> numbers of the packets in the order in which their pictures come out, int64 [N].

    Empty where pictures and packets do not match one to one.

    Raises
    ------
    VideoError
        the file is damaged.
    """
    number = np.where(table.silent, -1, np.arange(len(table)))
    first_of_part = _marked(table, parts)
    container, stream = open_stream(path, stream_index)
    numbers: list[int | None] = []
    with container:
        context = stream.codec_context
        context.thread_type = "AUTO"
        lead = int(np.argmin(table.lost))
        packets = packets_of(container, stream, lead)
        try:
            for packet in renumber(packets, table, number, first_of_part, lead):
                numbers += [frame.pts for frame in context.decode(packet)]
                if packet is None:
                    context.flush_buffers()
            numbers += [frame.pts for frame in context.decode(None)]
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: damaged ({cause(error)})") from error
    if None in numbers or len(set(numbers)) != len(numbers):
        numbers = []
    return np.asarray(numbers, dtype=np.int64)
