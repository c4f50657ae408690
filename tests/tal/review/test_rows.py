"""The row classifier as a rival: what it shows of a decoder's detections."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import prediction_frame
from tal.review.doubts import Detections, disagreement
from tal.review.rows import row_rival

Row = tuple[str, float, float, str, float]


def made(*rows: Row) -> Detections:
    return Detections(prediction_frame(*(list(zip(*rows, strict=True)) or [[]] * 5)), 0.5)


def told(found: Detections, scores: list[float], videos: set[str]) -> list[tuple[str, float, float]]:
    doubts = disagreement(found, [row_rival(found, np.array(scores), videos)])
    return [(d.detection.label, d.detection.start_s, d.detection.score) for d in doubts if d.detection]


def test_the_lowest_of_the_shown_gives_way_to_a_better_one() -> None:
    found = made(
        ("a", 0, 10, "x", 0.9), ("a", 20, 30, "x", 0.8), ("a", 40, 50, "x", 0.1), ("a", 60, 70, "x", 0.2)
    )
    assert told(found, [0.3, 0.01, 0.2, 0.05], {"a"}) == [("x", 20, 0.8), ("x", 40, 0.2)]
    assert told(found, [0.3, 0.21, 0.2, 0.05], {"a"}) == []  # in the same order there is no disagreement


def test_a_part_of_what_is_shown_is_nothing_new() -> None:
    """Its rows are the surest ones of the action, and would push another action out."""
    found = made(
        ("a", 0, 10, "x", 0.9), ("a", 3, 6, "x", 0.2), ("a", 20, 30, "x", 0.7), ("a", 4, 6, "y", 0.6)
    )
    assert told(found, [0.5, 0.9, 0.4, 0.1], {"a"}) == []


def test_a_place_counts_once() -> None:
    """Three weak detections of one place take the place of one action, not of three."""
    found = made(
        ("a", 0, 10, "x", 0.9),
        ("a", 20, 30, "x", 0.8),
        *(("a", 40 + k, 50 + k, "x", 0.1) for k in range(3)),
    )
    assert told(found, [0.3, 0.2, 0.5, 0.6, 0.75], {"a"}) == [("x", 42, 0.75), ("x", 20, 0.8)]


def test_a_class_that_the_decoder_shows_nowhere_needs_what_the_others_need() -> None:
    found = made(("a", 0, 10, "x", 0.9), ("a", 20, 30, "y", 0.1), ("a", 40, 50, "y", 0.1))
    assert told(found, [0.3, 0.4, 0.2], {"a"}) == [("y", 20, 0.4)]


def test_without_rows_of_a_video_it_has_no_opinion() -> None:
    found = made(("a", 0, 10, "x", 0.9), ("b", 0, 10, "x", 0.8), ("b", 20, 30, "x", 0.1))
    assert told(found, [0.0, 0.0, 0.9], {"a"}) == []
    assert told(found, [0.0, 0.0, 0.9], {"a", "b"})
    assert told(made(("a", 0, 10, "x", 0.1)), [0.9], {"a"}) == []  # it shows as many as the decoder: none


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_it_shows_as_many_of_each_class(data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from("ab"),
                st.integers(0, 40),
                st.integers(1, 20),
                st.sampled_from("xy"),
                st.floats(0, 1),
            ),
            max_size=20,
        )
    )
    found = made(*((v, float(s), float(s + n), label, score) for v, s, n, label, score in rows))
    scores = np.array(data.draw(st.permutations([k / 32 for k in range(1, len(rows) + 1)])))
    rival = row_rival(found, scores, {"a", "b"})
    theirs = Detections(rival.predictions, rival.thresholds)
    for label in {found.label[i] for i in np.flatnonzero(found.shown)}:
        assert theirs.shown[theirs.label == label].sum() == found.shown[found.label == label].sum()
