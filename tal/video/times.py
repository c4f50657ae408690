"""When pictures come on screen on the file's clock: the one that players and annotation tools show."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.video import clock
from tal.video.complete import last_picture
from tal.video.container import FileFacts, StreamFacts
from tal.video.packets import MISSING, PacketTable
from tal.video.pictures import Pictures, clock_error

log = logging.getLogger("longtal.video")

# A first picture so little behind the file's start is late by encoders' delays, not by anybody's wish.
_ENCODERS_DELAY_S = 0.1
# A picture on screen for so long is worth a warning.
_WARNED_S = 3600.0


@dataclass(frozen=True)
class FileTimes:
    """``times_s`` float64 [N], when pictures come; ``end_s``, when the last goes; ``fps``, gaps left out."""

    times_s: NDArray[np.float64]
    end_s: float
    fps: float
    notes: tuple[str, ...]


def file_times(
    path: Path, file: FileFacts, stream: StreamFacts, table: PacketTable, pictures: Pictures, edited: bool
) -> FileTimes:
    """Times of the pictures, counted from the file's start.

    Raises
    ------
    VideoError
        a picture would stay on screen for days.
    """
    tick_s = float(stream.time_base)
    ticks, usual = pictures.ticks, pictures.usual
    late_s, notes = _late_s(file, stream, table, pictures)
    last = last_picture(path, file, stream, table, pictures, edited)
    span_s = float(Fraction(float(ticks[-1] - ticks[0] + last)) * stream.time_base)
    times_s = (ticks - ticks[0]) * tick_s + late_s
    stays_s = np.append(np.diff(ticks), last) * tick_s
    longest = int(np.argmax(stays_s))
    if stays_s[longest] > clock.longest_stay(usual, tick_s) * tick_s:
        raise clock_error(path, clock.ClockError(float(times_s[longest]), float(stays_s[longest])))
    long = stays_s > max(clock.LONG_S, clock.LONG_TIMES * usual * tick_s)
    long[-1] |= last > max(1.0 / tick_s, clock.LONG_TIMES * usual)
    fps = len(ticks) / span_s
    if long.any():
        fps = (len(ticks) - long.sum()) / (span_s - stays_s[long].sum()) if not long.all() else fps
        which = (
            "its last picture" if longest == len(ticks) - 1 else f"the picture at {times_s[longest]:.2f} s"
        )
        more = f", {clock.counted(int(long.sum()) - 1, 'other')} long too" if long.sum() > 1 else ""
        notes.append(f"{which} stays for {stays_s[longest]:.2f} s{more}")
        if stays_s[longest] >= _WARNED_S:
            log.warning("%s: %s", path, notes[-1])
    return FileTimes(times_s, late_s + span_s, float(fps), tuple(notes))


def _late_s(
    file: FileFacts, stream: StreamFacts, table: PacketTable, pictures: Pictures
) -> tuple[float, list[str]]:
    """How long after the file's start the first picture comes, seconds; and a note about it."""
    if file.clockless or file.start_s is None or (table.pts[table.shown] == MISSING).all():
        return 0.0, []
    first = pictures.ticks[0]
    if pictures.counted and (table.dts != MISSING).any():
        first = table.dts[table.dts != MISSING].min()
    late_s = float(first * float(stream.time_base)) - file.start_s
    if late_s < _ENCODERS_DELAY_S:
        own_clock = file.format.startswith("mov,") and file.start_s >= _ENCODERS_DELAY_S
        notes = [f"its clock begins at {file.start_s:.2f} s, which is time 0 here, as in players"]
        return 0.0, notes if own_clock else []
    if late_s > clock.LONGEST_S:
        return 0.0, [
            f"sound begins {late_s / 3600:.0f} hours before its pictures: time 0 is the first picture"
        ]
    return late_s, [f"its first picture comes {late_s:.2f} s after the file's start, which times count from"]
