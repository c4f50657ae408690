"""What to look at next: its order, what is left out, and which of it is random."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import prediction_frame
from tal.annotations.corrections import Corrections, VideoCorrections
from tal.annotations.spans import covers, subtract, total_s, trim, union
from tal.errors import AnnotationError, ConfigError
from tal.review import Item, QueueOptions, next_items, record_samples
from tal.review.doubts import (
    DISAGREEMENT,
    EMPTY,
    NEAR,
    Detections,
    Rival,
    disagreement,
    near_threshold,
    nothing_found,
)
from tal.review.queue import RANDOM

Row = tuple[str, float, float, str, float]
DURATIONS = {"a": 300.0, "b": 200.0}
NO_EMPTY = QueueOptions(empty_s=1e6)
NEVER_RANDOM = QueueOptions(empty_s=1e6, random_every=1000)


def frame(*rows: Row) -> pd.DataFrame:
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    return prediction_frame(*columns)


def reviewed(**spans: list[tuple[float, float]]) -> Corrections:
    return Corrections((), {v: VideoCorrections(v, reviewed=union(s)) for v, s in spans.items()})


def doubts(items: tuple[Item, ...]) -> list[Item]:
    return [item for item in items if item.reason != RANDOM]


@st.composite
def detections(draw: st.DrawFn) -> pd.DataFrame:
    rows = []
    for _ in range(draw(st.integers(0, 30))):
        start = draw(st.floats(0, 190))
        length, score = draw(st.floats(0.5, 40)), draw(st.floats(0, 1))
        rows.append((draw(st.sampled_from("ab")), start, start + length, draw(st.sampled_from("xy")), score))
    return frame(*rows)


SPANS = st.lists(
    st.tuples(st.integers(0, 180), st.integers(1, 60)).map(lambda p: (p[0], p[0] + p[1])), max_size=5
)


@given(
    span=st.tuples(st.integers(0, 50), st.integers(50, 99)),
    taken=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=6),
)
def test_subtract_leaves_the_cells_outside(span: tuple[int, int], taken: list[tuple[int, int]]) -> None:
    merged = union([(float(a), float(a + n)) for a, n in taken])
    left = subtract(span, merged)
    cells = set(range(*span)) - {t for a, n in taken for t in range(a, a + n)}
    assert {t for a, b in left for t in range(int(a), int(b))} == cells
    assert total_s(left) == len(cells)
    ends = trim(span, merged)
    assert ends == ((min(cells), max(cells) + 1) if cells else (span[0], span[0]))


@settings(deadline=None, max_examples=60)
@given(found=detections(), other=detections(), a=SPANS, b=SPANS, count=st.integers(1, 25))
def test_items_are_new_time_inside_the_videos(found, other, a, b, count) -> None:  # type: ignore[no-untyped-def]
    known = reviewed(a=a, b=b)
    queue = next_items(found, DURATIONS, 0.5, known, [Rival(other, 0.5, "B")], count)
    assert queue == next_items(found, DURATIONS, 0.5, known, [Rival(other, 0.5, "B")], count)
    assert len(queue.items) <= count
    for item in queue.items:
        span = (item.start_s, item.end_s)
        assert 0 <= item.start_s < item.end_s <= DURATIONS[item.video_id]
        assert not covers(known.videos[item.video_id].reviewed, span)
        assert (item.probability is not None) == (item.reason == RANDOM)
    for first, second in combinations(doubts(queue.items), 2):
        if first.video_id == second.video_id:  # the middle of no doubt lies in another item
            assert not first.start_s < (second.start_s + second.end_s) / 2 < first.end_s or (
                second.start_s <= first.start_s and first.end_s <= second.end_s
            )


def test_scores_nearest_to_their_classs_threshold_come_first() -> None:
    found = frame(
        ("a", 10, 20, "x", 0.99),
        ("a", 40, 50, "x", 0.56),
        ("a", 70, 80, "y", 0.29),
        ("b", 10, 20, "y", 0.35),
        ("b", 60, 62, "x", 0.10),
    )
    queue = next_items(found, DURATIONS, {"x": 0.5, "y": 0.3}, count=5, options=NEVER_RANDOM)
    about = [item.detection.score for item in queue.items if item.detection]
    assert about == [0.29, 0.35, 0.56, 0.10, 0.99]
    first = doubts(queue.items)[0]
    assert (first.start_s, first.end_s, first.reason) == (68, 82, NEAR)
    assert "below its threshold 0.30" in first.detail


def test_a_weak_repeat_of_a_shown_detection_is_no_doubt() -> None:
    found = frame(("a", 10, 20, "x", 0.9), ("a", 11, 21, "x", 0.49), ("a", 10, 20, "y", 0.48))
    weak = frame(("a", 10, 20, "x", 0.9), ("b", 11, 21, "x", 0.49), ("a", 30, 40, "y", 0.48))
    for predictions, scores in ((found, {0.9, 0.48}), (weak, {0.9, 0.49, 0.48})):
        about = [doubt.detection for doubt in near_threshold(Detections(predictions, 0.5))]
        assert {d.score for d in about if d} == scores


def test_disagreement_is_what_one_shows_and_the_other_does_not() -> None:
    mine = frame(("a", 10, 20, "x", 0.9), ("a", 40, 50, "x", 0.8), ("a", 100, 110, "x", 0.7))
    theirs = frame(("a", 11, 20, "x", 0.6), ("a", 40, 50, "y", 0.95), ("a", 100, 110, "x", 0.45))
    one = Detections(mine, 0.5)
    found = list(disagreement(one, [Rival(theirs, 0.5, "B")]))
    # .95 and .8 against nothing, .7 against .45; at 10 s both show it
    about = [(d.detection.label, d.detection.start_s) for d in found if d.detection]
    assert about == [("y", 40), ("x", 40), ("x", 100)]
    assert "in B alone" in found[0].detail
    assert list(disagreement(one, [Rival(mine, 0.5, "A")])) == []
    items = next_items(
        mine, DURATIONS, 0.5, others=[Rival(theirs, 0.5, "B")], count=2, options=NEVER_RANDOM
    ).items
    assert [item.reason for item in items] == [NEAR, DISAGREEMENT]


def test_of_videos_that_were_not_looked_at_nothing_is_said() -> None:
    mine = Detections(frame(("a", 10, 20, "x", 0.9), ("b", 10, 20, "x", 0.9)), 0.5)
    doubts = disagreement(mine, [Rival(frame(), 0.5, "B", {"b"})])
    assert [doubt.video_id for doubt in doubts] == ["b"]


def test_the_longest_empty_stretch_comes_first_and_in_parts() -> None:
    found = frame(
        ("a", 0, 100, "x", 0.9), ("a", 150, 300, "x", 0.9), ("b", 0, 120, "x", 0.9), ("b", 170, 171, "x", 0.2)
    )
    shown = Detections(found, 0.5)
    empty = list(nothing_found(shown, DURATIONS, {}, 20, 20))
    # around the weak detection, then the middles of what is left: 50 s of a, 40.5 of b
    assert [(d.video_id, d.core) for d in empty[:3]] == [
        ("b", (160.5, 180.5)),
        ("a", (115.0, 135.0)),
        ("b", (130.25, 150.25)),
    ]
    assert empty[0].detail == "no detection for 80 s"
    for doubt in empty:
        span = (100, 150) if doubt.video_id == "a" else (120, 200)
        assert span[0] <= doubt.core[0] < doubt.core[1] <= min(span[1], doubt.core[0] + 20)
    after = nothing_found(shown, DURATIONS, {"b": ((120.0, 200.0),)}, 20, 20)
    assert {doubt.video_id for doubt in after} == {"a"}
    assert next_items(found, DURATIONS, 0.5, count=9).items[1].reason == EMPTY


def test_reasons_take_turns_and_every_fifth_is_random() -> None:
    rows = [("a", 10.0 * k, 10.0 * k + 3, "x", 0.3 + k / 100) for k in range(29)]
    found = frame(*rows, ("b", 0, 1, "x", 0.9))
    queue = next_items(
        found, DURATIONS, 0.5, others=[Rival(frame(("b", 0, 1, "x", 0.1)), 0.5, "B")], count=20
    )
    assert len(queue.items) == 20
    assert [k + 1 for k, item in enumerate(queue.items) if item.reason == RANDOM] == [5, 10, 15, 20]
    reasons = [item.reason for item in queue.items[:4]]
    assert reasons == [NEAR, DISAGREEMENT, EMPTY, NEAR]
    assert sum(map(len, queue.drawn.values())) == 4


def test_without_doubt_all_is_random_until_the_videos_are_through() -> None:
    queue = next_items(frame(), DURATIONS, 0.5, count=1000, options=NO_EMPTY)
    assert {item.reason for item in queue.items} == {RANDOM}
    assert union([(i.start_s, i.end_s) for i in queue.items if i.video_id == "a"]) == ((0.0, 300.0),)
    everything = reviewed(a=[(0, 300)], b=[(0, 200)])
    done = next_items(frame(("a", 1, 2, "x", 0.5)), DURATIONS, 0.5, everything)
    assert done.items == ()


def test_a_draw_stands_until_it_is_reviewed_and_counts_where_it_was() -> None:
    empty = frame()
    first = next_items(empty, DURATIONS, 0.5, count=5, options=NO_EMPTY)
    kept = record_samples(Corrections((), {}), first)
    assert sum(len(v.sampled) for v in kept.videos.values()) == 5
    again = next_items(empty, DURATIONS, 0.5, kept, count=5, options=NO_EMPTY)
    assert set(again.items) == set(first.items)
    assert again.drawn == {}
    # half of a random stretch reviewed: it is still asked for, whole
    item = first.items[0]
    half = (item.start_s, (item.start_s + item.end_s) / 2)
    video = kept.videos[item.video_id]
    part = Corrections((), {**kept.videos, video.id: replace(video, reviewed=(half,))})
    assert item in next_items(empty, DURATIONS, 0.5, part, count=5, options=NO_EMPTY).items
    # drawn where somebody had looked already: kept, without an item
    looked = reviewed(a=[(0, 300)])
    queue = next_items(empty, DURATIONS, 0.5, looked, count=6, options=NO_EMPTY)
    assert {item.video_id for item in queue.items} == {"b"}
    assert "a" in queue.drawn
    assert sum(map(len, queue.drawn.values())) > len(queue.items)


def test_the_sample_does_not_depend_on_predictions_or_on_what_was_reviewed() -> None:
    found = frame(*[("a", 9.0 * k, 9.0 * k + 3, "x", 0.5) for k in range(30)])
    plain = next_items(found, DURATIONS, 0.5, count=10).drawn
    seen = next_items(found, DURATIONS, 0.5, reviewed(a=[(0, 150)], b=[(20, 90)]), count=10).drawn
    assert plain == seen
    assert sum(map(len, plain.values())) == 2


def test_what_makes_no_sense_is_named() -> None:
    with pytest.raises(AnnotationError, match="no duration is known of 1 predicted videos: 'c'"):
        next_items(frame(("c", 0, 1, "x", 0.5)), DURATIONS, 0.5)
    with pytest.raises(ConfigError, match="stretch_s"):
        QueueOptions(stretch_s=0)
    with pytest.raises(ConfigError, match="random_every"):
        QueueOptions(random_every=0)
    with pytest.raises(ConfigError, match="context_s"):
        QueueOptions(context_s=-1)


def test_an_item_prints_as_json() -> None:
    found = frame(("a", 10, 20, "x", 0.5))
    items = next_items(found, DURATIONS, 0.5, count=5, options=NO_EMPTY).items
    near, *_ = (item.to_json() for item in items if item.reason == NEAR)
    by_chance, *_ = (item.to_json() for item in items if item.reason == RANDOM)
    assert near["detection"] == {"label": "x", "segment": [10.0, 20.0], "score": 0.5}
    assert (near["video"], near["segment"], "probability" in near) == ("a", [8.0, 22.0], False)
    assert by_chance["probability"] == pytest.approx(1 / 17)
    assert set(by_chance) == {"video", "segment", "reason", "detail", "probability"}
