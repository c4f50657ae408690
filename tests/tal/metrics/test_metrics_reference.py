"""mAP against the plain reference and the official evaluator's figures."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluate import plain_average_precisions
from tal.annotations import (
    AnnotationSet,
    Segment,
    VideoAnnotation,
    prediction_frame,
    read_annotations,
    read_predictions,
)
from tal.metrics import evaluate

LABELS = ("a", "b", "c")
# Few distinct values: ties of score and tIoU, duplicates and empty segments come up all the time.
TIMES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 2.5])
SCORES = st.sampled_from([0.1, 0.2, 0.5, 0.9])


def ground_truth(rows, videos=()):
    """[(video, label, start, end)] -> AnnotationSet; instances keep the order given within a video."""
    by_video = {v: [] for v in videos}
    for video, label, start, end in rows:
        by_video.setdefault(video, []).append(Segment(start, end, label))
    return AnnotationSet(
        {
            v: VideoAnnotation(
                v,
                "test",
                tuple(s for s in segments if s.end_s > s.start_s),
                degenerate=tuple(s for s in segments if s.end_s <= s.start_s),
            )
            for v, segments in by_video.items()
        },
        LABELS,
    )


def frame(rows):
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    return prediction_frame(list(columns[0]), columns[2], columns[3], list(columns[1]), columns[4])


instance = st.tuples(st.sampled_from("uvw"), st.sampled_from(LABELS), TIMES, TIMES)
prediction = st.tuples(st.sampled_from("uvwx"), st.sampled_from((*LABELS, "unknown")), TIMES, TIMES, SCORES)


@settings(max_examples=400, deadline=None)
@given(st.lists(instance, min_size=1, max_size=12), st.lists(prediction, min_size=1, max_size=40))
def test_equals_the_plain_reference(truth, predictions):
    # one of each is sure to exist, so that something can be measured
    truth = [*truth, ("u", "a", 1.0, 3.0)]
    predictions = [*predictions, ("u", "a", 1.0, 2.5, 0.3)]
    tiou = [0.1, 0.5, 2 / 3, 1.0]
    result = evaluate(ground_truth(truth), frame(predictions), tiou)
    # the set puts instances that end before they start last
    ordered = [r for r in truth if r[3] > r[2]] + [r for r in truth if r[3] <= r[2]]
    expected = plain_average_precisions(ordered, predictions, tiou)
    assert result.per_class.keys() == expected.keys()
    for label, ap in expected.items():
        assert result.per_class[label] == pytest.approx(ap, abs=1e-12)
    assert result.mAP == pytest.approx(np.mean(list(expected.values()), axis=0), abs=1e-12)
    assert all(0 <= x <= 1 for ap in result.per_class.values() for x in ap)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=14),
    st.lists(st.tuples(TIMES, TIMES, SCORES), min_size=1, max_size=40),
)
def test_equals_the_plain_reference_where_all_want_the_same(truth, predictions):
    """One video, one label: chains of predictions that outbid each other."""
    rows = [("u", "a", a, b) for a, b in truth]
    rows = [r for r in rows if r[3] > r[2]] + [r for r in rows if r[3] <= r[2]]
    found = [("u", "a", a, b, s) for a, b, s in predictions]
    tiou = [0.05, 0.2, 0.4, 0.8]
    result = evaluate(ground_truth(rows), frame(found), tiou)
    assert result.per_class["a"] == pytest.approx(plain_average_precisions(rows, found, tiou)["a"], abs=1e-12)


def test_equals_the_official_figures(shared):
    annotations = read_annotations(shared("eval/thumos14.json")).subset("test")
    expected = json.loads(shared("eval/thumos14_expected.json").read_text())
    result = evaluate(annotations, read_predictions(shared("eval/thumos14_pred.json")), expected["tiou"])
    assert result.average_mAP == pytest.approx(expected["average_mAP"], abs=1e-9)
    assert result.mAP == pytest.approx(expected["mAP"], abs=1e-9)
    assert result.per_class.keys() == expected["per_class"].keys()
    for label, ap in expected["per_class"].items():
        assert result.per_class[label] == pytest.approx(ap, abs=1e-9), label


def test_hand_computed():
    """Two instances; by score: hit, miss, hit. AP = 1/2 * 1 + 1/2 * 2/3."""
    truth = ground_truth([("v", "a", 0, 10), ("v", "a", 20, 30)])
    predictions = frame([("v", "a", 0, 10, 0.9), ("v", "a", 50, 60, 0.8), ("v", "a", 20, 30, 0.7)])
    assert evaluate(truth, predictions, [0.5]).average_mAP == pytest.approx(1 / 2 + 1 / 3, abs=1e-12)


def test_a_taken_instance_leaves_the_next_best_to_a_prediction():
    """The second prediction prefers the instance that the first took, and falls back on the other."""
    truth = ground_truth([("v", "a", 0, 10), ("v", "a", 4, 14)])
    predictions = frame([("v", "a", 0, 10, 0.9), ("v", "a", 1, 11, 0.8)])
    assert evaluate(truth, predictions, [0.5]).average_mAP == 1.0
    assert evaluate(truth, predictions, [0.6]).average_mAP == pytest.approx(0.5)


def test_an_instance_is_found_once():
    truth = ground_truth([("v", "a", 0, 10)])
    predictions = frame([("v", "a", 0, 9, 0.9), ("v", "a", 0, 10, 0.8)])
    assert evaluate(truth, predictions, [0.5, 0.95]).mAP == pytest.approx([1.0, 0.5])


def test_labels_without_predictions_count_zero_and_unknown_labels_do_not_count():
    truth = ground_truth([("v", "a", 0, 10), ("v", "b", 0, 10)])
    predictions = frame([("v", "a", 0, 10, 0.5), ("v", "unknown", 0, 10, 0.9)])
    result = evaluate(truth, predictions, [0.5])
    assert result.per_class == {"a": [1.0], "b": [0.0]}
    assert result.average_mAP == 0.5
    assert result.counts["predictions_of_unknown_labels"] == 1


def test_predictions_in_unknown_videos_are_false():
    truth = ground_truth([("v", "a", 0, 10)], videos=["empty"])
    wrong = [("elsewhere", "a", 0, 10, 0.9), ("empty", "a", 0, 10, 0.8)]
    result = evaluate(truth, frame([*wrong, ("v", "a", 0, 10, 0.5)]), [0.5])
    assert result.average_mAP == pytest.approx(1 / 3)
    assert result.counts["predictions_in_unknown_videos"] == 1
    assert result.counts["videos_without_ground_truth"] == 1


def test_equal_scores_stand_in_the_reverse_of_the_files_order():
    truth = ground_truth([("v", "a", 0, 10)])
    hit, miss = ("v", "a", 0, 10, 0.5), ("v", "a", 50, 60, 0.5)
    assert evaluate(truth, frame([hit, miss]), [0.5]).average_mAP == 0.5
    assert evaluate(truth, frame([miss, hit]), [0.5]).average_mAP == 1.0


def test_plain_columns_are_as_good_as_categories():
    truth = ground_truth([("v", "a", 0, 10)])
    plain = pd.DataFrame({"video_id": ["v"], "start_s": [0], "end_s": [10], "label": ["a"], "score": [1]})
    assert evaluate(truth, plain, [0.5]).average_mAP == 1.0
