"""The pictures of a stream in the order of display, from its packets: by stamp, by number, or by counting."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video import clock
from tal.video.container import FileFacts, StreamFacts, cause, open_stream
from tal.video.packets import MISSING, PacketTable, packets_of
from tal.video.renumber import Numbering, decode_order, number_pictures

log = logging.getLogger("longtal.video")

# FFmpeg misplaces what follows a second edit by up to two pictures, where there are B-frames.
_MISPLACED = 2.5


@dataclass(frozen=True)
class Pictures:
    """Pictures in the order of display, N of them, and K key frames.

    Attributes
    ----------
    ticks
        when each comes on screen on the recorder's clock: int64 or float64 [N], strictly increasing.
    usual
        ticks of one picture.
    pts
        int64 [N], strictly increasing: the stamps that decoded pictures carry.
    key_pts, key_dts, key_pictures
        int64 [K], as in `PacketIndex`.
    numbering
        None where the file's own stamps tell pictures apart.
    counted
        pictures are told by their place in the decoder's output.
    last
        the packet of the last picture; -1 where that is not known.
    joined
        the clock is not the recorder's: parts were joined, or it had none.
    """

    ticks: NDArray[np.int64] | NDArray[np.float64]
    usual: float
    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    key_pictures: NDArray[np.int64]
    numbering: Numbering | None = None
    counted: bool = False
    last: int = -1
    joined: bool = False
    notes: tuple[str, ...] = ()


def find_pictures(path: Path, file: FileFacts, stream: StreamFacts, table: PacketTable) -> Pictures:
    """Look at the stamps; decode everything only where they do not tell the order of the pictures.

    Raises
    ------
    VideoError
        the stamps cannot be placed, or the file is damaged.
    """
    shown = table.shown
    pts, dts = table.pts[shown], table.dts[shown]
    lacking = bool((pts == MISSING).any())
    if file.format == "avi" and (lacking or stream.reorders):
        return _by_count(path, stream, table)
    places = clock.restarts(table, float(stream.time_base), stream.reorders, file.clock_wraps)
    shared = len(np.unique(pts)) < len(pts)
    key_stamps = _stamps(table)[table.key]
    if not (lacking or len(places) or shared or (np.diff(key_stamps) <= 0).any()):
        return _by_stamp(stream, table)
    edits = _edits(table)
    if len(edits) and stream.promised and not lacking:
        return _by_edits(file, stream, table, edits)
    if not lacking and clock.has_decoding_stamps(table):
        # each picture comes as long after its decoding as the recorder says; the clock of decoding is mended
        decoding = _place(path, stream, table, shown, dts, places)
        stamps = np.rint(decoding.ticks + _reach(pts - dts, decoding.usual)).astype(np.int64)
        cuts = decoding.joined[table.is_cut(shown[decoding.joined])]
        in_display = clock.order_of_display(stamps, cuts)
        order, stamps = shown[in_display], stamps[in_display]
        line = replace(_place(path, stream, table, order, stamps, cuts), notes=decoding.notes)
        joined = len(decoding.joined) > 0
    else:
        order = _order(path, stream, table, places, doubtful=lacking or shared)
        if not len(order):
            return _by_count(path, stream, table)
        part = np.maximum.accumulate(np.searchsorted(shown[places], order, side="right"))
        begins = np.flatnonzero(np.diff(part, prepend=0) > 0)
        line = _place(path, stream, table, order, table.pts[order], begins)
        joined = lacking or len(line.joined) > 0
    parts = np.array([order[j:].min() for j in line.joined], dtype=np.intp)
    return replace(_by_number(file, table, order, parts[table.is_cut(parts)], line), joined=joined)


def _edits(table: PacketTable) -> NDArray[np.intp]:
    """Key frames, hidden ones too, that begin a further edit: their stamps lie before those of others."""
    keys = np.flatnonzero(table.key)
    stamps = _stamps(table)[keys]
    return keys[1:][stamps[1:] <= np.maximum.accumulate(stamps)[:-1]] if table.hidden.any() else keys[:0]


def _by_edits(file: FileFacts, stream: StreamFacts, table: PacketTable, edits: NDArray[np.intp]) -> Pictures:
    """Edits one after another; one that all but meets the edit before it follows on with the next picture."""
    shown = table.shown
    edit = np.searchsorted(edits, shown, side="right")
    in_display = clock.order_of_display(table.pts[shown], np.flatnonzero(np.diff(edit) > 0) + 1)
    order, edit = shown[in_display], edit[in_display]
    ticks = table.pts[order].astype(np.float64)
    steps = np.diff(ticks)[np.diff(edit) == 0]
    usual = float(np.median(steps)) if len(steps) else float(stream.one_picture)
    for begin in np.flatnonzero(np.diff(edit) > 0) + 1:
        late = ticks[begin] - ticks[begin - 1] - usual
        if abs(late) <= _MISPLACED * usual:
            ticks[begin:] -= late
    line = clock.Timeline(ticks, usual, edits[:0], ())
    return _by_number(file, table, order, edits, line)


def _order(
    path: Path, stream: StreamFacts, table: PacketTable, places: NDArray[np.intp], doubtful: bool
) -> NDArray[np.intp]:
    """Packets in the order of display; decoded to know it where B-frames leave a doubt. Empty: not known."""
    shown = table.shown
    pts = table.pts[shown]
    clean = not doubtful and table.key[shown[places]].all()
    if clean or not (stream.reorders or (pts == MISSING).any()):
        return shown[clock.order_of_display(pts, places)]
    log.info("%s: its packets do not tell the order of its pictures; decoded once to know it", path)
    parts = shown[places]
    return decode_order(path, stream.index, table, parts[table.is_cut(parts)])


def _place(
    path: Path,
    stream: StreamFacts,
    table: PacketTable,
    packets: NDArray[np.intp],
    stamps: NDArray[np.int64],
    begins: NDArray[np.intp],
) -> clock.Timeline:
    """Stamps of packets on one clock; ``begins``: which of them begin a part."""
    starts = np.zeros(len(stamps), dtype=bool)
    starts[begins] = True
    durations, tick_s = table.duration[packets], float(stream.time_base)
    try:
        return clock.place(stamps, starts, durations, stream.one_picture, tick_s)
    except clock.ClockError as error:
        raise clock_error(path, error) from error


def _reach(behind: NDArray[np.int64], usual: float) -> NDArray[np.float64]:
    """Ticks from decoding to display; where that cannot be, the median."""
    believed = (behind >= 0) & (behind <= clock.REORDERED * usual)
    middle = np.median(behind[believed]) if believed.any() else 0.0
    return np.where(believed, behind, middle)


def _by_stamp(stream: StreamFacts, table: PacketTable) -> Pictures:
    pts = np.sort(table.pts[table.shown])
    keys = _keys(table)
    return Pictures(
        ticks=pts,
        usual=int(np.median(np.diff(pts))) if len(pts) > 1 else stream.one_picture,
        pts=pts,
        key_pts=keys[:, 0],
        key_dts=keys[:, 1],
        key_pictures=np.searchsorted(pts, keys[:, 0]),
        last=int(table.shown[np.argmax(table.pts[table.shown])]),
    )


def _by_count(path: Path, stream: StreamFacts, table: PacketTable) -> Pictures:
    log.info("%s: its packets do not tell their pictures' times; decoded once to count them", path)
    num_pictures, key_pictures = _count_pictures(path, stream.index, int(np.argmin(table.lost)))
    if not num_pictures:
        raise VideoError(f"{path}: no pictures can be decoded from it")
    pts = np.unique(_stamps(table)[table.shown])
    step = int(np.median(np.diff(pts))) if len(pts) > 1 else stream.one_picture
    if len(pts) != num_pictures:
        pts = np.arange(num_pictures, dtype=np.int64) * max(1, step)
    keys = _keys(table)
    if len(keys) != len(key_pictures):  # no way to tell which is which: always from the start
        keys, key_pictures = keys[:0], key_pictures[:0]
    usual = int(np.median(np.diff(pts))) if len(pts) > 1 else stream.one_picture
    return Pictures(pts, usual, pts, keys[:, 0], keys[:, 1], key_pictures, counted=True)


def _by_number(
    file: FileFacts,
    table: PacketTable,
    order: NDArray[np.intp],
    parts: NDArray[np.intp],
    line: clock.Timeline,
) -> Pictures:
    """Pictures of packets ``order``, given in the order of display; ``parts``: packets that begin one."""
    numbering = number_pictures(table, order, parts, by_byte=file.by_byte)
    keys = numbering.keys
    return Pictures(
        ticks=line.ticks,
        usual=line.usual,
        pts=np.arange(len(order), dtype=np.int64),
        key_pts=_stamps(table)[keys],
        key_dts=np.where(table.dts == MISSING, _stamps(table), table.dts)[keys],
        key_pictures=numbering.key_pictures,
        numbering=numbering,
        last=int(order[-1]),
        notes=line.notes,
    )


def clock_error(path: Path, error: clock.ClockError) -> VideoError:
    return VideoError(
        f"{path}: {error}, longer than a picture stays on screen: cut the file there, or give it new "
        f"times (ffmpeg -i IN -vf setpts=N/FRAME_RATE/TB OUT)"
    )


class FirstPicture(NamedTuple):
    """What one picture tells: rotation counter-clockwise in degrees, width and height as shown."""

    rotation: int
    width: int
    height: int
    interlaced: bool


def first_picture(path: Path, stream_index: int, lead: int) -> FirstPicture:
    """Decode one picture.

    Raises
    ------
    VideoError
        none can be decoded.
    """
    container, stream = open_stream(path, stream_index)
    with container:
        context = stream.codec_context
        try:
            frames = (f for p in packets_of(container, stream, lead) for f in context.decode(p))
            frame = next(frames, None) or next(iter(context.decode(None)), None)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: its first picture cannot be decoded ({cause(error)})") from error
        if frame is None:
            raise VideoError(f"{path}: no pictures can be decoded from it")
        rotation = round(frame.rotation / 90) * 90 % 360
        width, height = frame.width, frame.height
        if rotation in (90, 270):
            width, height = height, width
        return FirstPicture(rotation, width, height, bool(frame.interlaced_frame))


def open_groups(table: PacketTable) -> bool:
    """Whether pictures that are shown before a key frame, not the first, are stored after it."""
    stamps = _stamps(table)
    key = np.maximum.accumulate(np.where(table.key, np.arange(len(table)), -1))
    return bool((~table.key & (np.cumsum(table.key) > 1) & (stamps < stamps[key])).any())


def _stamps(table: PacketTable) -> NDArray[np.int64]:
    """Of each packet: when it is shown, else when it is decoded, else 0."""
    stamps = np.where(table.pts == MISSING, table.dts, table.pts)
    return np.where(stamps == MISSING, 0, stamps)


def _keys(table: PacketTable) -> NDArray[np.int64]:
    """Stamps of the key frames, int64 [K, (shown, decoded)], by the first of them."""
    shown = _stamps(table)[table.key]
    decoded = np.where(table.dts[table.key] == MISSING, shown, table.dts[table.key])
    return np.stack([shown, decoded], axis=1)[np.argsort(shown, kind="stable")]


def _count_pictures(path: Path, stream_index: int, lead: int) -> tuple[int, NDArray[np.int64]]:
    """Decode everything -> (number of pictures, which of them are key frames)."""
    container, stream = open_stream(path, stream_index)
    keys: list[int] = []
    count = 0
    with container:
        context = stream.codec_context
        context.thread_type = "AUTO"
        try:
            for packet in chain(packets_of(container, stream, lead), [None]):
                for frame in context.decode(packet):
                    if frame.key_frame:
                        keys.append(count)
                    count += 1
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{path}: damaged ({cause(error)})") from error
    return count, np.asarray(keys, dtype=np.int64)
