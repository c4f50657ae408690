"""Index of a video's pictures: when each is on screen and where decoding can start, from the packets alone.

Demuxing reads the file once and nothing is decoded but one picture; the index of a file that did not change
is kept in memory (a few hundred kilobytes for an hour), so that a loader worker which comes back to a video
pays nothing.
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
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.clock import counted
from tal.video.complete import check_complete
from tal.video.container import (
    FileFacts,
    StreamFacts,
    cause,
    file_facts,
    open_container,
    stream_facts,
    video_streams,
)
from tal.video.packets import MISSING, PacketTable, scan
from tal.video.pictures import find_pictures, first_picture, open_groups
from tal.video.renumber import Numbering
from tal.video.structure import next_recording
from tal.video.times import file_times

log = logging.getLogger("longtal.video")

_CACHED_INDEXES = 256
# Below this many seconds a time stamp is a rounding of the container (Matroska, FLV: 1 ms).
TIME_SLACK_S = 1e-3
# MPEG-TS and MPEG-PS have no index at their end: so much without a picture is something else.
_TAIL_BYTES, _TAIL_SHARE = 1 << 20, 0.1
# Steps between pictures may differ by so much at a constant rate.
_STEADY_S = 2e-3


@dataclass(frozen=True)
class PacketIndex:
    """Pictures in the order of display, and where decoding can start.

    Attributes
    ----------
    stream
        number of the video stream in the file.
    times_s
        float64 [N], strictly increasing: when each picture comes on screen, seconds on the file's clock.
    duration_s
        end of the last picture on the same clock.
    fps
        pictures a second, gaps left out.
    pts
        int64 [N], strictly increasing: the stamps that decoded pictures carry, in ticks of ``time_base``.
    time_base
        seconds in a tick.
    key_pts, key_dts
        int64 [K], stamps to seek to.
    key_pictures
        int64 [K], increasing: the index of the first picture that key frame k lets one decode.
    lead
        packets at the start that cannot be decoded.
    numbering
        how pictures are told apart where stamps do not; None where they do.
    counted
        the packets' stamps do not tell pictures apart (AVI keeps none, so with B-frames they are wrong):
        pictures are told by their place in the decoder's output.
    edited
        an edit list hides pictures.
    varying
        pictures do not come at a constant rate.
    open_groups
        pictures shown before a key frame are stored after it, and need the group before.
    interlaced
        the first picture is two fields, one line apart, taken one after the other.
    streams
        number of video streams in the file.
    notes
        what was bent to read it, a sentence each.
    """

    path: Path
    stream: int
    times_s: NDArray[np.float64]
    duration_s: float
    fps: float
    pts: NDArray[np.int64]
    time_base: Fraction
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    key_pictures: NDArray[np.int64]
    lead: int
    numbering: Numbering | None
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    counted: bool
    edited: bool
    varying: bool
    open_groups: bool
    interlaced: bool
    streams: int
    notes: tuple[str, ...]


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


def _build(path: Path) -> PacketIndex:
    file, streams, tables = _scan(path)
    notes: list[str] = []
    stream = _choose(streams, tables, notes)
    table = tables[stream.index]
    if not len(table):
        raise VideoError(f"{path}: no pictures in its video stream")
    cut_away = check_complete(path, file, stream, table)
    table = _first_recording(path, file, table, notes)
    if file.format.startswith("mov,") and not stream.promised:
        table = table.uncover_restarts()
    if file.clock_wraps or file.clockless:
        table = table.begin_at_key()
    lead = int(np.argmin(table.lost))
    if lead:
        notes.append(
            f"begins in the middle of a group: {counted(lead, 'picture')} before its first key frame left out"
        )
    first = first_picture(path, stream.index, lead)
    if not len(table.shown):
        raise VideoError(f"{path}: no pictures can be decoded from it")
    pictures = find_pictures(path, file, stream, table)
    edited = cut_away > 0 or bool(table.hidden.any())
    if edited:
        of = f" of {stream.promised}" if stream.promised else ""
        notes.append(f"an edit list shows {len(pictures.ticks)}{of} pictures")
    if file.clockless or (table.pts[table.shown] == MISSING).all():
        rate = 1 / (float(pictures.usual) * float(stream.time_base))
        notes.append(f"no time stamps in it: {rate:.3f} pictures a second")
    notes += pictures.notes
    times = file_times(path, file, stream, table, pictures, edited)
    notes += times.notes
    step_s = np.diff(times.times_s)
    for note in notes:
        log.info("%s: %s", path, note)
    return PacketIndex(
        path=path,
        stream=stream.index,
        times_s=times.times_s,
        duration_s=times.end_s,
        fps=times.fps,
        pts=pictures.pts,
        time_base=stream.time_base,
        key_pts=pictures.key_pts,
        key_dts=pictures.key_dts,
        key_pictures=pictures.key_pictures,
        lead=lead,
        numbering=pictures.numbering,
        width=first.width,
        height=first.height,
        rotation=first.rotation,
        codec=stream.codec,
        container=file.format,
        counted=pictures.counted,
        edited=edited,
        varying=len(step_s) > 0 and bool(np.ptp(step_s) > 2 * max(_STEADY_S, float(stream.time_base))),
        open_groups=open_groups(table),
        interlaced=first.interlaced,
        streams=len(streams),
        notes=tuple(notes),
    )


def _scan(path: Path) -> tuple[FileFacts, list[StreamFacts], dict[int, PacketTable]]:
    """Facts and packets of the video streams, FFmpeg's choice first."""
    with open_container(path) as container:
        streams = video_streams(path, container)
        file = file_facts(container)
        facts = [stream_facts(s, file.clockless) for s in streams]
        try:
            return file, facts, scan(container, streams)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: damaged ({cause(error)})") from error


def _choose(streams: list[StreamFacts], tables: dict[int, PacketTable], notes: list[str]) -> StreamFacts:
    """FFmpeg's choice, unless that is a single picture and another stream has more."""
    best = next((s for s in streams if len(tables[s.index]) > 1), streams[0])
    if len(streams) > 1:
        said = {s.index: f"{s} with {counted(len(tables[s.index]), 'picture')}" for s in streams}
        chosen = said.pop(best.index)
        notes.append(f"{len(streams)} video streams: {chosen} is read; not {', '.join(said.values())}")
    return best


def _first_recording(path: Path, file: FileFacts, table: PacketTable, notes: list[str]) -> PacketTable:
    """Without what another file that was put behind this one holds: FFmpeg and players do not read it."""
    byte = next_recording(path, file.format, table.end)
    size = os.path.getsize(path)
    if byte is not None:
        notes.append(f"another recording begins at byte {byte} and is not read: cut the file there")
    elif file.clock_wraps and size - table.end > max(_TAIL_BYTES, _TAIL_SHARE * size):
        notes.append(
            f"no pictures of this stream behind byte {table.end} of {size}: what is there is not read"
        )
    else:
        return table
    log.warning("%s: %s", path, notes[-1])
    return table if byte is None else table.until(byte)
