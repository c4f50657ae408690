"""Random stretches: they cover a video, keep to their order, and each is as likely as the others."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations.corrections import Sample
from tal.review.sampling import draws, stretches

DURATIONS = {"a": 100.0, "b": 61.0, "c": 5.0}


@settings(deadline=None)
@given(duration_s=st.floats(0.5, 1e4), stretch_s=st.floats(0.5, 100))
def test_stretches_are_equal_and_cover_the_video(duration_s: float, stretch_s: float) -> None:
    cut = stretches(duration_s, stretch_s)
    assert (cut[0][0], cut[-1][1]) == (0.0, duration_s)
    assert all(a[1] == b[0] for a, b in pairwise(cut))
    lengths = [end - start for start, end in cut]
    assert max(lengths) <= stretch_s * (1 + 1e-6)
    assert max(lengths) - min(lengths) < 1e-6 * duration_s
    assert (len(cut) - 1) * stretch_s < duration_s


def test_all_are_drawn_once_with_the_same_probability() -> None:
    drawn = list(draws(DURATIONS, 10, 0, {}))
    spans = [(video, s.start_s, s.end_s) for video, s in drawn]
    expected = [(v, *span) for v, length in DURATIONS.items() for span in stretches(length, 10)]
    assert sorted(spans) == sorted(expected)
    assert {s.probability for _, s in drawn} == {1 / len(expected)}


def test_the_order_is_the_seeds_and_does_not_depend_on_what_else_there_is() -> None:
    first = list(draws(DURATIONS, 10, 0, {}))
    assert first == list(draws(dict(reversed(DURATIONS.items())), 10, 0, {}))
    assert first != list(draws(DURATIONS, 10, 1, {}))
    alone = [s.start_s for _, s in draws({"a": 100.0}, 10, 0, {})]
    assert alone == [s.start_s for video, s in first if video == "a"]


def test_what_was_drawn_is_not_drawn_again() -> None:
    first = list(draws(DURATIONS, 10, 0, {}))
    before: dict[str, list[Sample]] = {}
    for video, sample in first[:5]:
        before.setdefault(video, []).append(sample)
    assert list(draws(DURATIONS, 10, 0, before)) == first[5:]
    # with another length: none that overlaps one of them
    for video, sample in draws(DURATIONS, 7, 0, before):
        for old in before.get(video, []):
            assert min(sample.end_s, old.end_s) - max(sample.start_s, old.start_s) <= 0.1


def test_every_stretch_is_as_likely() -> None:
    # 17 stretches, the first 4 of 3,000 seeds: 4/17 of 3,000 are 706 each, sd 23
    counts: Counter[tuple[str, float]] = Counter()
    for seed in range(3000):
        counts.update((video, s.start_s) for video, s in islice(draws(DURATIONS, 10.0, seed, {}), 4))
    number = len(list(draws(DURATIONS, 10.0, 0, {})))
    expected = 3000 * 4 / number
    assert len(counts) == number
    assert max(abs(n - expected) for n in counts.values()) == pytest.approx(0, abs=4.5 * 23)
