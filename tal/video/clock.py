"""From the time stamps that a recorder wrote to the times of the pictures: one clock that never goes back.

Recorders' clocks start again (files put after one another), jump, stand still, or are left out. The rules are
in docs/video.md. Arrays in, arrays out; nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tal.video.packets import MISSING, PacketTable

# MPEG's clock has 33 bits. FFmpeg takes an earlier stamp for one after the wrap, and gives the next circle's.
WRAP_TICKS = 1 << 33
# Stamps that go back by more are a new start; the ffmpeg program has the same for MPEG-TS.
_BACK_S = 0.1
# H.264 and HEVC show a picture at most 16 places away from where it is stored.
REORDERED = 17
# A stream that is said not to reorder, and whose stamps fall so often, does.
_FALLS_SHARE = 0.01
# A stamp so many pictures ahead may be a slip, where the clock comes back.
_AHEAD = 5
# A picture that is on screen for so long, and so many times as long as the usual one, is a gap.
LONG_S, LONG_TIMES = 10.0, 20
# No picture stays on screen for longer.
LONGEST_S, LONGEST_TIMES = 86_400.0, 1000
# By how much pictures may be squeezed together before their clock has stood still.
_SQUEEZED_S = 0.5


class ClockError(Exception):
    """The clock jumps ahead by more than a picture can stay on screen."""

    def __init__(self, at_s: float, ahead_s: float) -> None:
        super().__init__(f"its clock jumps ahead by {ahead_s / 3600:.0f} hours at {at_s:.2f} s")


@dataclass(frozen=True)
class Timeline:
    """Where pictures are.

    Attributes
    ----------
    ticks
        float64 [N], strictly increasing.
    usual
        ticks of one picture.
    joined
        int [J]: the pictures that begin a part which was joined to the one before.
    notes
        what was bent, a phrase each.
    """

    ticks: NDArray[np.float64]
    usual: float
    joined: NDArray[np.intp]
    notes: tuple[str, ...]


def has_decoding_stamps(table: PacketTable) -> bool:
    """Whether the stamps of decoding are the recorder's own.

    Matroska keeps none and MPEG-TS may leave them out; FFmpeg then guesses them from those of display.
    """
    pts, dts = table.pts[table.shown], table.dts[table.shown]
    return bool((dts != MISSING).all() and (dts <= pts).all() and (dts < pts).any())


def restarts(table: PacketTable, tick_s: float, reorders: bool, wraps: bool) -> NDArray[np.intp]:
    """Places in ``table.shown`` where the clock goes back: a new part begins with that packet.

    Stamps of decoding only grow, so that one which falls is a new start. Without them those of display are
    looked at. They fall among B-frames too, but never at a key frame, and rise again within their reach.

    Parameters
    ----------
    reorders
        the stream has B-frames.
    wraps
        the clock is MPEG's, of 33 bits.
    """
    shown = table.shown
    pts, dts = table.pts[shown], table.dts[shown]
    given = np.flatnonzero(pts != MISSING)
    if len(given) < 2:
        return given[:0]
    slack = max(_BACK_S / tick_s, 1.5 * (_median_step(np.unique(pts[given])) or 1.0))
    gap = LONG_S / tick_s if wraps else 0.0
    if has_decoding_stamps(table):
        return _falls(dts, slack, gap)
    falls = given[_falls(pts[given], slack, gap)]
    if not reorders and len(falls) <= max(1, _FALLS_SHARE * len(pts)):
        return falls
    return given[_falls(pts[given], slack, gap, table.key[shown][given])]


def _median_step(stamps: NDArray[np.int64]) -> float:
    return float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0


def _falls(
    stamps: NDArray[np.int64], slack: float, gap: float, keys: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Where stamps fall below the highest so far of their part by more than ``slack``.

    With ``keys`` [P]: at a key frame, or where they stay below for longer than B-frames can. With a ``gap``,
    on a clock of 33 bits: where they go by more to the next circle, or by more than half a circle.
    """
    below = stamps < np.maximum.accumulate(stamps) - slack
    step = np.diff(stamps, prepend=stamps[:1])
    circle = np.diff(stamps // WRAP_TICKS, prepend=stamps[:1] // WRAP_TICKS)
    ahead = ((step > gap) & (circle > 0) | (step > WRAP_TICKS / 2)) & (gap > 0)
    places: list[int] = []
    if below.any() or ahead.any():
        highest = int(stamps[0])
        for at, stamp in enumerate(stamps.tolist()):
            fallen = stamp < highest - slack
            if fallen and keys is not None and not keys[at]:
                near = stamps[at : at + REORDERED]
                fallen = len(near) == REORDERED and bool((near < highest - slack).all())
            if fallen or ahead[at]:
                places.append(at)
                highest = stamp
            highest = max(highest, stamp)
    return np.asarray(places, dtype=np.intp)


def order_of_display(pts: NDArray[np.int64], parts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places of pictures in the order of display: by stamp within each part, parts in file order."""
    bounds = [0, *parts.tolist(), len(pts)]
    pieces = [np.arange(a, b) for a, b in pairwise(bounds)]
    return np.concatenate([piece[np.argsort(pts[piece], kind="stable")] for piece in pieces])


def place(
    stamps: NDArray[np.int64],
    starts: NDArray[np.bool_],
    durations: NDArray[np.int64],
    one_picture: int,
    tick_s: float,
) -> Timeline:
    """Place pictures on one clock.

    Parameters
    ----------
    stamps
        int64 [N] in the order of display, `MISSING` where there is none.
    starts
        bool [N]: a part begins with this picture.
    durations
        int64 [N], how long the packet says that its picture stays; 0 when it does not.
    one_picture
        ticks of a picture by the header's rate, for when the stamps do not say.

    Raises
    ------
    ClockError
        the clock jumps ahead by more than a picture can stay on screen.
    """
    usual = _usual(stamps, starts) or float(one_picture)
    lacking = int((stamps == MISSING).sum())
    notes: list[str] = []
    if 0 < lacking < len(stamps):
        notes.append(f"{lacking} of {len(stamps)} pictures without a time stamp: placed between the others")
    back = max(_BACK_S / tick_s, 1.5 * usual)
    begins = _segments(stamps, starts, max(back, REORDERED * usual), _AHEAD * usual)
    stamps, begins, healed = _heal(stamps, begins, usual, back)
    if healed:
        notes.append(f"{counted(healed, 'time stamp')} not believed: out of line with the others")
    ticks = np.empty(len(stamps))
    joined: list[int] = []
    still: list[tuple[float, int]] = []
    shared, shift, last, end = 0, 0.0, 0.0, 0.0
    for begin, stop in zip(begins, [*begins[1:], len(stamps)], strict=True):
        filled = _fill(stamps[begin:stop], usual, _SQUEEZED_S / tick_s)
        gap = filled.ticks[0] + shift - last
        if begin and (starts[begin] or gap <= 0):
            shift = end - filled.ticks[0]
            joined.append(begin)
        elif begin and gap > longest_stay(usual, tick_s):
            raise ClockError((last - ticks[0]) * tick_s, gap * tick_s)
        ticks[begin:stop] = filled.ticks + shift
        still += [((ticks[begin + at] - ticks[0]) * tick_s, count) for at, count in filled.still]
        shared += filled.shared
        shift += filled.grown
        stays = float(durations[stop - 1])
        last = float(ticks[stop - 1])
        end = last + (stays if usual < stays <= LONGEST_S / tick_s else usual)
    assert (np.diff(ticks) > 0).all()
    if joined:
        at = ", ".join(f"{t:.2f} s" for t in (ticks[joined[:5]] - ticks[0]) * tick_s)
        more = f" and {len(joined) - 5} more" if len(joined) > 5 else ""
        notes.append(f"its clock starts again at {at}{more}: {len(joined) + 1} parts follow each other")
    notes += [
        f"its clock stands still at {t:.2f} s for {n} pictures: they follow each other" for t, n in still[:3]
    ]
    if shared and not still:
        notes.append(
            f"{counted(shared, 'picture')} with the time stamp of the one before: they share its time"
        )
    return Timeline(ticks, usual, np.asarray(joined, dtype=np.intp), tuple(notes))


def longest_stay(usual: float, tick_s: float) -> float:
    """Ticks for which a picture can be on screen."""
    return max(LONGEST_S / tick_s, LONGEST_TIMES * usual)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _usual(stamps: NDArray[np.int64], starts: NDArray[np.bool_]) -> float:
    """Ticks of one picture: the median of what pictures get between one stamp and the next; 0 for none."""
    known = np.flatnonzero(stamps != MISSING)
    known = known[np.concatenate([[True], np.diff(stamps[known]) != 0])] if len(known) else known
    part = np.cumsum(starts)[known]
    room, pictures = np.diff(stamps[known]), np.diff(known)
    inside = (room > 0) & (np.diff(part) == 0)
    return float(np.median(room[inside] / pictures[inside])) if inside.any() else 0.0


def _segments(stamps: NDArray[np.int64], starts: NDArray[np.bool_], back: float, ahead: float) -> list[int]:
    """Where runs of one clock begin: at parts, and where stamps fall back or jump ahead."""
    known = np.flatnonzero(stamps != MISSING)
    own = known[np.concatenate([[True], np.diff(stamps[known]) != 0])] if len(known) else known
    step = np.diff(stamps[own])
    jumps = own[1:][(step < -back) | (step > ahead * np.diff(own))]
    return sorted({0, *np.flatnonzero(starts).tolist(), *jumps.tolist()})


def _heal(
    stamps: NDArray[np.int64], begins: list[int], usual: float, back: float
) -> tuple[NDArray[np.int64], list[int], int]:
    """Believe no stamps of a run that lies elsewhere while the run after it goes on with the clock of the run
    before it and leaves room for just these pictures; and no stamp that falls below one before it.

    Returns the stamps, the beginnings that are left, and how many stamps are not believed.
    """
    stamps, lacking = stamps.copy(), (stamps == MISSING).sum()
    ends = [*begins[1:], len(stamps)]
    runs = [stamps[a:b][stamps[a:b] != MISSING] for a, b in zip(begins, ends, strict=True)]
    kept, before, number = [0], runs[0], 1
    while number < len(runs):
        run, after = runs[number], runs[number + 1] if number + 1 < len(runs) else runs[number][:0]
        if len(before) and len(run) and len(after):
            share = (ends[number] - begins[number] + 1) * usual
            low, high = int(before.max()), int(after[0])
            elsewhere = run.min() <= low or run.max() >= high
            if elsewhere and 0.5 * share <= high - low <= 1.5 * share + back:
                stamps[begins[number] : ends[number]] = MISSING
                before, number = after, number + 2
                continue
        kept.append(begins[number])
        before, number = run, number + 1
    for begin, stop in zip(kept, [*kept[1:], len(stamps)], strict=True):
        run = stamps[begin:stop]
        run[run < np.maximum.accumulate(run)] = MISSING
    return stamps, kept, int((stamps == MISSING).sum() - lacking)


@dataclass(frozen=True)
class _Filled:
    """A run of pictures on one clock: ``grown`` ticks longer than its stamps say, because it stood still."""

    ticks: NDArray[np.float64]
    grown: float
    still: list[tuple[int, int]]
    shared: int


def _fill(stamps: NDArray[np.int64], usual: float, squeezed: float) -> _Filled:
    """Pictures without a stamp of their own share the time until the next stamp.

    They follow each other at the usual rate instead where that leaves a gap, and where so many have one
    stamp that the clock must have stood still: then all that follows is later.
    """
    places = np.arange(len(stamps))
    known = np.flatnonzero(stamps != MISSING)
    if not len(known):
        return _Filled(np.asarray(places * usual, dtype=np.float64), 0.0, [], 0)
    own = known[np.concatenate([[True], np.diff(stamps[known]) > 0])]
    at = stamps[own].astype(np.float64)
    pictures, room = np.diff(own), np.diff(at)
    lacks = pictures * usual - room
    still = (pictures > 1) & (lacks > squeezed)
    step = np.where(still | (room > 2 * pictures * usual), usual, room / pictures)
    later = np.cumsum(np.where(still, lacks, 0.0))
    at[1:] += later
    which = np.maximum(0, np.searchsorted(own, places, side="right") - 1)
    offset = places - own[which]
    each = np.where(offset < 0, usual, np.append(step, usual)[which])
    ticks = np.asarray(at[which] + offset * each, dtype=np.float64)
    last = len(stamps) - int(own[-1])  # with the stamp that is never left
    stood = [(int(own[i]), int(pictures[i])) for i in np.flatnonzero(still)]
    usual_run = np.median(pictures) if len(pictures) else 1
    stopped = (last - 1) * usual > squeezed and last > 2 * usual_run
    if stopped and (stamps[own[-1] + 1 :] != MISSING).any():
        stood.append((int(own[-1]), last))
    grown = float(later[-1]) if len(later) else 0.0
    return _Filled(ticks, grown, stood, len(known) - len(own))
