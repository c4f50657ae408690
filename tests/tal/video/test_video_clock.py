"""Stamps placed on one clock: arrays alone, no file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.video.clock import WRAP_TICKS, ClockError, order_of_display, place, restarts
from tal.video.packets import MISSING, PacketTable

_HZ = 90_000
_ONE = 3600  # 25 a second


def _table(pts: np.ndarray, dts: np.ndarray | None = None, keys: tuple[int, ...] = (0,)) -> PacketTable:
    count = len(pts)
    none = np.zeros(count, dtype=bool)
    key = none.copy()
    key[list(keys)] = True
    stamps = np.asarray(pts, dtype=np.int64)
    return PacketTable(
        pts=stamps,
        dts=stamps if dts is None else np.asarray(dts, dtype=np.int64),
        duration=np.full(count, _ONE),
        pos=np.arange(count) * 188,
        size=np.full(count, 100),
        key=key,
        hidden=none,
        silent=none,
        damaged=none,
        lost=none,
        uncovered=none,
    )


def _place(
    stamps: object, starts: tuple[int, ...] = (), durations: int = _ONE
) -> tuple[np.ndarray, tuple[str, ...]]:
    array = np.asarray(stamps, dtype=np.int64)
    begins = np.zeros(len(array), dtype=bool)
    begins[list(starts)] = True
    line = place(array, begins, np.full(len(array), durations), _ONE, 1 / _HZ)
    assert (np.diff(line.ticks) > 0).all() and np.isfinite(line.ticks).all()
    return line.ticks, line.notes


def _reordered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Stamps of display and of decoding with two B-frames between others, in the order of the file."""
    groups = [[0], *[[at + 3, at + 1, at + 2] for at in range(0, count, 3)]]
    pts = np.array([at for group in groups for at in group])[:count] * _ONE + 2 * _ONE
    return pts, np.arange(count) * _ONE


@given(st.lists(st.integers(1, 9 * _ONE), min_size=1, max_size=60))
def test_honest_stamps_stay_what_they_are(steps: list[int]) -> None:
    stamps = np.cumsum(steps)
    ticks, notes = _place(stamps)
    assert np.array_equal(ticks, stamps) and not notes
    assert not len(restarts(_table(stamps), 1 / _HZ, reorders=False, wraps=True))


@given(st.lists(st.integers(1, 900 * _ONE), min_size=2, max_size=40), st.booleans())
def test_b_frames_are_no_new_start(steps: list[int], guessed: bool) -> None:
    """Whatever the rate does; also where the stamps of decoding are not the recorder's."""
    times = np.concatenate([[0], np.cumsum(steps)])
    pts, _ = _reordered(len(times))
    rank = np.argsort(np.argsort(pts))
    shown = times[rank]
    decoded = np.full(len(times), MISSING) if guessed else times - times.max()
    found = restarts(_table(shown, decoded), 1 / _HZ, reorders=True, wraps=False)
    assert not len(found)
    assert np.array_equal(shown[order_of_display(shown, found)], times)


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(st.just(MISSING), st.integers(0, 30 * _ONE), st.integers(0, 10**7)), min_size=1, max_size=40
    ),
    st.sets(st.integers(1, 39)),
)
def test_whatever_the_stamps_times_grow(stamps: list[int], starts: set[int]) -> None:
    """`_place` holds it: strictly increasing and finite."""
    _place(stamps, tuple(s for s in starts if s < len(stamps)))


@pytest.mark.parametrize("wraps", [False, True])
def test_a_new_start_is_where_decoding_goes_back(wraps: bool) -> None:
    pts, dts = _reordered(30)
    both = _table(np.concatenate([pts, pts]), np.concatenate([dts, dts]), keys=(0, 30))
    assert restarts(both, 1 / _HZ, reorders=True, wraps=wraps).tolist() == [30]
    guessed = replace(both, dts=np.full(60, MISSING))
    assert restarts(guessed, 1 / _HZ, reorders=True, wraps=wraps).tolist() == [30], "a key frame says it"
    no_key = replace(guessed, key=_table(both.pts, keys=(0,)).key)
    assert restarts(no_key, 1 / _HZ, reorders=True, wraps=wraps).tolist() == [30], "it stays below"


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        (WRAP_TICKS + 5, []),  # it wraps and goes on
        (WRAP_TICKS + 60 * _HZ, [20]),  # the next circle's: earlier than what was there
        (WRAP_TICKS - 60 * _HZ, []),  # a gap of minutes
        (WRAP_TICKS * 2 - 60 * _HZ, [20]),  # most of the circle ahead
    ],
)
def test_a_clock_of_33_bits(then: int, expected: list[int]) -> None:
    before = WRAP_TICKS - 20 * _ONE + np.arange(20) * _ONE
    if then == WRAP_TICKS - 60 * _HZ:
        before = before - 600 * _HZ
    table = _table(np.concatenate([before, then + np.arange(20) * _ONE]), keys=(0, 20))
    assert restarts(table, 1 / _HZ, reorders=False, wraps=True).tolist() == expected


def test_parts_follow_when_the_last_picture_goes() -> None:
    stamps = np.concatenate([np.arange(5), np.arange(3) + 700]) * _ONE
    ticks, notes = _place(stamps, starts=(5,))
    assert (np.diff(ticks) == _ONE).all() and "2 parts" in notes[0]
    ticks, _ = _place(stamps, starts=(5,), durations=5 * _ONE)
    assert ticks[5] - ticks[4] == 5 * _ONE, "its packet says that it stays for longer"


def test_a_gap_keeps_its_length_and_days_are_refused() -> None:
    stamps = np.concatenate([np.arange(5) * _ONE, np.arange(3) * _ONE + 7200 * _HZ])
    ticks, notes = _place(stamps)
    assert np.array_equal(ticks, stamps) and not notes
    with pytest.raises(ClockError, match=r"jumps ahead by 1[0-9]{2} hours at 0\.16 s"):
        _place(np.concatenate([np.arange(5) * _ONE, np.arange(3) * _ONE + 400_000 * _HZ]))


def test_stamps_that_return_to_their_clock_are_slips() -> None:
    honest = np.arange(40) * _ONE
    for run, by in ((slice(9, 10), 900), (slice(9, 12), -800), (slice(20, 32), 7 * 25)):
        slipped = honest.copy()
        slipped[run] += by * _ONE
        ticks, notes = _place(slipped)
        assert np.array_equal(ticks, honest), (run, by)
        assert f"{run.stop - run.start} time stamp" in notes[0]


def test_pictures_without_a_stamp_share_the_time_between_their_neighbours() -> None:
    honest = np.arange(12) * _ONE
    lacking = honest.copy()
    lacking[[0, 3, 4, 11]] = MISSING
    assert np.array_equal(_place(lacking)[0], honest)
    assert np.array_equal(_place(np.full(7, MISSING))[0], np.arange(7) * _ONE), "at the header's rate"


def test_a_coarse_clock_is_shared_out() -> None:
    """One stamp a second for 25 pictures: no stand-still, they share the second."""
    ticks, notes = _place(np.repeat(np.arange(4) * _HZ, 25))
    assert np.allclose(np.diff(ticks), _ONE) and "share" in notes[0]


def test_a_clock_that_stands_still_makes_what_follows_later() -> None:
    stamps = np.concatenate([np.arange(10), np.full(30, 10), np.arange(11, 20)]) * _ONE
    ticks, notes = _place(stamps)
    assert np.array_equal(ticks, np.arange(49) * _ONE)
    assert "stands still at 0.40 s for 30 pictures" in notes[0]
