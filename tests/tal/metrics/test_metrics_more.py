"""Recalls, operating points, calibration, diagnosis, protocols, bootstrap: against something independent."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import AnnotationSet, Segment, VideoAnnotation, prediction_frame
from tal.errors import EvaluationError
from tal.metrics import PROTOCOLS, Evaluation, calibrate, evaluate, get_protocol, paired_bootstrap, parse_tiou
from tal.metrics.bootstrap import weighted_average_map
from tal.metrics.recall import proposal_recall


def truth_of(rows, duration_s=100.0, empty=()):
    videos = {v: [] for v in empty}
    for video, label, start, end in rows:
        videos.setdefault(video, []).append(Segment(float(start), float(end), label))
    return AnnotationSet(
        {v: VideoAnnotation(v, "test", tuple(s), duration_s) for v, s in videos.items()},
        tuple(sorted({r[1] for r in rows})),
        source="truth.json",
    )


def frame_of(rows):
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    return prediction_frame(list(columns[0]), columns[2], columns[3], list(columns[1]), columns[4])


TRUTH = [("u", "a", 0, 10), ("u", "a", 20, 30), ("u", "b", 50, 60), ("v", "a", 0, 10), ("v", "b", 70, 90)]


def random_case(seed, videos=6, predictions=120):
    rng = np.random.default_rng(seed)
    rows, found = [], []
    for v in range(videos):
        for _ in range(rng.integers(1, 5)):
            start = rng.uniform(0, 80)
            rows.append((f"v{v}", "abc"[rng.integers(3)], start, start + rng.uniform(1, 20)))
    for score in rng.permutation(predictions) / predictions:
        video, label, start, end = rows[rng.integers(len(rows))]
        shift = rng.normal(0, 3, 2)
        label = label if rng.random() < 0.7 else "abc"[rng.integers(3)]
        found.append((video, label, start + shift[0], max(end + shift[1], start + shift[0]), float(score)))
    return rows, found


# ---- nothing to measure --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "predictions", "message"),
    [
        ([], [("u", "a", 0, 1, 1)], r"no ground truth: truth\.json has 2 videos .*'e', 'f'"),
        (TRUTH, [], r"no predictions for 4 videos with 5 annotated segments: "),
        (
            TRUTH,
            [("x", "a", 0, 1, 1)],
            r"no video in common: ground truth has 4 .* predictions have 1 \('x'\)",
        ),
        (
            TRUTH,
            [("u", "z", 0, 1, 1)],
            r"no label in common: ground truth has 2 .* predictions have 1 \('z'\)",
        ),
        (TRUTH, [("u", "a", 0, 1, math.nan)], r"1 predictions whose score is not a finite number: 'u'"),
        (TRUTH, [("u", "a", 0, math.inf, 1)], r"1 predictions whose end_s is not a finite number: 'u'"),
    ],
)
def test_empty_cases_are_errors_with_counts_and_ids(truth, predictions, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate(truth_of(truth, empty=("e", "f")), frame_of(predictions), [0.5])


@pytest.mark.parametrize("tiou", [[], [0.0], [1.1], [math.nan], [-0.5]])
def test_thresholds_must_make_sense(tiou):
    with pytest.raises(EvaluationError, match="tIoU"):
        evaluate(truth_of(TRUTH), frame_of([("u", "a", 0, 1, 1)]), tiou)


def test_missing_columns_are_named():
    with pytest.raises(EvaluationError, match=r"\['score'\]"):
        evaluate(truth_of(TRUTH), frame_of([("u", "a", 0, 1, 1)]).drop(columns="score"), [0.5])


# ---- protocols -----------------------------------------------------------------------------------


def test_tiou_is_start_stop_step_with_both_ends():
    assert parse_tiou("0.3:0.7:0.1") == (0.3, 0.4, 0.5, 0.6, 0.7)
    assert parse_tiou("0.5:0.95:0.05") == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert parse_tiou("0.5:0.5:0.1") == parse_tiou("0.5") == (0.5,)
    assert parse_tiou("0.5,0.75") == (0.5, 0.75)


@pytest.mark.parametrize("text", ["", "a", "0.3:0.7", "0.3:0.1:0.7", "0.3:0.7:0", "0.7:0.3:-0.1", "0:1:0.1",
                                  "nan", "0.1:inf:0.1", "0.1:0.9:1e-9", "1.5"])  # fmt: skip
def test_bad_tiou_is_an_error(text):
    with pytest.raises(EvaluationError, match="tIoU"):
        parse_tiou(text)


def test_protocols_are_the_benchmarks():
    assert get_protocol("thumos14").tiou == (0.3, 0.4, 0.5, 0.6, 0.7)
    assert get_protocol("multithumos").tiou == tuple(round(0.1 * i, 1) for i in range(1, 10))
    assert get_protocol("epic100").tiou == (0.1, 0.2, 0.3, 0.4, 0.5)
    for name in ("activitynet", "hacs"):
        assert len(get_protocol(name).tiou) == 10
        assert get_protocol(name).columns == (0.5, 0.75, 0.95)
    with pytest.raises(EvaluationError, match=r"no protocol 'anet'; there are activitynet, "):
        get_protocol("anet")


# ---- operating point and calibration -------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_precision_and_recall_at_a_score_equal_an_evaluation_of_what_is_left(seed, threshold):
    """Cutting the list and matching anew gives the same counts as cutting the cumulative sums."""
    rows, found = random_case(seed, videos=3, predictions=30)
    run = Evaluation(truth_of(rows), frame_of(found), [0.5])
    point = run.operating_point(threshold)["micro"]
    kept = [p for p in found if p[4] >= threshold and p[1] in {r[1] for r in rows}]
    hits = int((Evaluation(truth_of(rows), frame_of(kept), [0.5]).matched_at(0.5) >= 0).sum()) if kept else 0
    assert (point["true"], point["false"], point["missed"]) == (hits, len(kept) - hits, len(rows) - hits)
    assert point["recall"] == pytest.approx(hits / len(rows))
    assert point["precision"] == pytest.approx(hits / len(kept) if kept else 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_calibrated_scores_are_the_best_of_all(seed):
    rows, found = random_case(seed, videos=3, predictions=40)
    truth, frame = truth_of(rows), frame_of(found)
    run = Evaluation(truth, frame, [0.5])
    chosen = calibrate(truth, frame, 0.5)
    assert chosen.keys() == {r[1] for r in rows}
    best = run.operating_point(chosen)["per_class"]
    for threshold in {p[4] for p in found}:
        for name, at in run.operating_point(threshold)["per_class"].items():
            if best[name]["true"]:
                assert at["f1"] <= best[name]["f1"] + 1e-12


def test_a_class_that_is_never_found_takes_the_common_threshold():
    predictions = [
        ("u", "a", 0, 10, 0.9),
        ("u", "a", 20, 30, 0.8),
        ("u", "a", 70, 80, 0.3),
        ("u", "b", 0, 1, 0.99),
    ]
    chosen = calibrate(truth_of(TRUTH), frame_of(predictions))
    assert chosen["a"] == pytest.approx(0.55)  # midway between the last hit and the first miss below it
    assert chosen["b"] == chosen["a"]


def test_equal_scores_stand_or_fall_together():
    predictions = [
        ("u", "a", 0, 10, 0.5),
        ("u", "a", 90, 91, 0.5),
        ("u", "a", 92, 93, 0.5),
        ("v", "a", 0, 10, 0.9),
    ]
    chosen = calibrate(truth_of([("u", "a", 0, 10), ("v", "a", 0, 10)]), frame_of(predictions))
    assert chosen["a"] == pytest.approx(0.7)  # F1 is 2/3 with and without the tied: the higher


# ---- recalls -------------------------------------------------------------------------------------


def plain_recall_at_kx(rows, found, tiou, k):
    """Ego4D's rule, one label and video after the other."""
    per_label = []
    for label in dict.fromkeys(r[1] for r in rows):
        hits = total = 0
        for video in dict.fromkeys(r[0] for r in rows):
            truth = [r for r in rows if r[:2] == (video, label)]
            ranked = sorted((p for p in found if p[:2] == (video, label)), key=lambda p: -p[4])[
                : k * len(truth)
            ]
            total += len(truth)
            hits += sum(any(overlap(p, t) >= tiou for p in ranked) for t in truth)
        per_label.append(hits / total)
    return np.mean(per_label)


def overlap(p, t):
    inner = max(0.0, min(p[3], t[3]) - max(p[2], t[2]))
    return inner / ((p[3] - p[2]) + (t[3] - t[2]) - inner)


def plain_proposal_recall(rows, found, thresholds):
    """ActivityNet's proposal evaluation as its kit words it."""
    videos = list(dict.fromkeys(r[0] for r in rows))
    ratio = 100 * len(videos) / len(found)
    kept = {}
    for v in videos:
        ranked = sorted((p for p in found if p[0] == v), key=lambda p: -p[4])
        kept[v] = ranked[: min(int(len(ranked) * ratio), len(ranked))]
    total = sum(map(len, kept.values()))
    shares = np.arange(1, 101) / 100 * (100 * len(videos) / total)
    recall = np.zeros(100)
    for j, share in enumerate(shares):
        for tiou in thresholds:
            for r in rows:
                few = kept[r[0]][: min(int(len(kept[r[0]]) * share), len(kept[r[0]]))]
                recall[j] += any(overlap(p, r) >= tiou for p in few) / len(rows) / len(thresholds)
    return shares * total / len(videos), recall


@pytest.mark.parametrize("seed", range(3))
def test_recalls_equal_their_plain_forms(seed):
    rows, found = random_case(seed)
    tiou = [0.3, 0.5, 0.8]
    run = Evaluation(truth_of(rows), frame_of(found), tiou)
    more = run.recalls(get_protocol("generic"))
    for k in (1, 5):
        expected = [plain_recall_at_kx(rows, found, t, k) for t in tiou]
        assert more["recall_at_kx"][f"{k}x"] == pytest.approx(expected)
    numbers, recall = plain_proposal_recall(rows, found, tiou)
    ours = proposal_recall(run.table, tiou)
    assert ours.proposals_per_video == pytest.approx(numbers)
    assert ours.average_recall == pytest.approx(recall)
    assert ours.at(numbers[49]) == pytest.approx(recall[49])


def test_video_top1():
    predictions = [("u", "b", 0, 1, 0.9), ("u", "z", 0, 1, 0.1), ("v", "z", 0, 1, 0.9), ("v", "a", 0, 1, 0.8)]
    top = Evaluation(truth_of(TRUTH), frame_of(predictions), [0.5]).recalls(get_protocol("hacs"))[
        "video_top1"
    ]
    assert top == {"accuracy": 0.5, "right": 1, "videos": 2}


# ---- diagnosis -----------------------------------------------------------------------------------


def test_kinds_of_error_by_hand():
    predictions = [
        ("u", "a", 0, 10, 0.9),  # true positive
        ("u", "a", 0, 9, 0.8),  # double detection
        ("u", "a", 22, 26, 0.7),  # tIoU 0.4 with its own label: localization
        ("u", "a", 50, 60, 0.6),  # lies on b: wrong label
        ("u", "a", 58, 70, 0.5),  # tIoU 0.1 with b: confusion
        ("u", "a", 95, 99, 0.4),  # background
        ("x", "a", 0, 10, 0.3),  # unknown video: background
        ("v", "b", 70, 90, 0.2),
    ]
    run = Evaluation(truth_of(TRUTH), frame_of(predictions), [0.5])
    last = run.diagnosis()["false_positives"]["profile"][-1]
    assert last == {
        "top": "10G",
        "predictions": 8,
        "true positive": 2,
        "double detection": 1,
        "localization": 1,
        "wrong label": 1,
        "confusion": 1,
        "background": 2,
    }
    first = run.diagnosis()["false_positives"]["profile"][0]  # the 3 best of a, the 2 best of b
    assert (first["predictions"], first["true positive"], first["double detection"]) == (4, 2, 1)


@pytest.mark.parametrize("seed", range(3))
def test_impact_is_the_map_gained_when_errors_of_a_kind_are_taken_away(seed):
    from tal.metrics.diagnosis import ERROR_KINDS, best_overlaps, error_kinds

    rows, found = random_case(seed, predictions=60)
    tiou = [0.5]
    run = Evaluation(truth_of(rows), frame_of(found), tiou)
    run_limit = np.ones(len(run.table.pred_label), dtype=bool)
    diagnosis = run.diagnosis()
    assert diagnosis["predictions_looked_at"] == 60
    kinds = error_kinds(run.matched_at(0.5), best_overlaps(run.table, run_limit), 0.5)
    for kind, name in enumerate(ERROR_KINDS[1:], start=1):
        left = [found[i] for i in sorted(run.table.pred_row[kinds != kind])]
        gained = evaluate(truth_of(rows), frame_of(left), tiou).average_mAP - run.result().average_mAP
        assert diagnosis["false_positives"]["impact"][name] == pytest.approx(gained, abs=1e-9)


def test_missed_instances_by_size():
    predictions = [("u", "a", 0, 10, 0.9), ("v", "b", 70, 90, 0.8)]
    missed = Evaluation(truth_of(TRUTH), frame_of(predictions), [0.5]).diagnosis(PROTOCOLS["activitynet"])
    negatives = missed["false_negatives"]
    assert (negatives["instances"], negatives["missed"]) == (5, 3)
    assert [(r["instances"], r["missed"]) for r in negatives["length"]] == [
        (5, 3),
        (0, 0),
        (0, 0),
        (0, 0),
        (0, 0),
    ]
    assert negatives["length"][1]["missed_share"] is None
    assert [(r["bucket"], r["instances"], r["missed"]) for r in negatives["instances_per_video"][:2]] == [
        ("XS", 3, 2),
        ("S", 2, 1),
    ]
    assert negatives["coverage"][0]["range"] == "≤ 0.2"


def test_sensitivity_of_everything_in_one_bucket_is_the_whole():
    rows, found = random_case(5)
    sensitivity = Evaluation(truth_of(rows), frame_of(found), [0.3, 0.5]).diagnosis(PROTOCOLS["activitynet"])
    whole = sensitivity["sensitivity"]["average_mAP_N"]
    assert sensitivity["sensitivity"]["length"][0]["average_mAP_N"] == pytest.approx(whole, abs=1e-12)


def test_normalized_ap_equals_ap_when_all_labels_are_equally_frequent():
    rows = [(v, c, i, i + 5) for v in "uv" for i, c in enumerate("ab")]
    found = [(v, c, s + 1, e, float(i) / 9) for i, (v, c, s, e) in enumerate(rows)] + [
        ("u", "a", 50, 60, 0.9)
    ]
    run = Evaluation(truth_of(rows), frame_of(found), [0.3, 0.5])
    value = run.diagnosis()["sensitivity"]["average_mAP_N"]
    assert value == pytest.approx(run.result().average_mAP, abs=1e-12)


def test_everything_is_json_without_nan():
    rows, found = random_case(1)
    truth = truth_of(rows, duration_s=None)
    run = Evaluation(truth, frame_of(found), [0.5, 0.9])
    report = run.result(diagnosis=run.diagnosis(), **run.recalls(get_protocol("generic"))).to_json()
    assert "coverage" not in report["diagnosis"]["false_negatives"]
    json.dumps(report, allow_nan=False)


# ---- bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_copies_of_videos(seed):
    """A sample by weights is an evaluation of a data set in which videos are there twice or not at all.

    The weights take copies of a prediction as one step of the curve, the copied file
    as two: hence the tolerance.
    """
    rows, found = random_case(seed)
    run = Evaluation(truth_of(rows), frame_of(found), [0.5])
    assert weighted_average_map(run, np.ones(len(run.table.videos))) == pytest.approx(
        run.result().average_mAP
    )
    times = np.array([2.0, 0.0, 1.0, 2.0, 0.0, 1.0])
    names = run.table.videos
    copied_rows = [(f"{v}/{k}", *r) for v, *r in rows for k in range(int(times[names.index(v)]))]
    copied = [(f"{v}/{k}", *r, s - 1e-9 * k) for v, *r, s in found for k in range(int(times[names.index(v)]))]
    expected = evaluate(truth_of(copied_rows), frame_of(copied), [0.5]).average_mAP
    assert weighted_average_map(run, times) == pytest.approx(expected, abs=0.02)


def test_the_same_predictions_are_not_told_apart():
    rows, found = random_case(2)
    run = Evaluation(truth_of(rows), frame_of(found), [0.5])
    result = paired_bootstrap(run, run, samples=50)
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_clearly_better_detector_is_told_apart_and_the_seed_decides_the_rest():
    rows, found = random_case(3, videos=12)
    good = [(v, c, s, e, 0.9) for v, c, s, e in rows]
    a = Evaluation(truth_of(rows), frame_of(found), [0.5])
    b = Evaluation(truth_of(rows), frame_of(good), [0.5])
    result = paired_bootstrap(a, b, samples=200, seed=1)
    assert 0 < result.low < result.difference < result.high or result.low == pytest.approx(
        result.difference, abs=0.3
    )
    assert result.p_value < 0.02
    assert result == paired_bootstrap(a, b, samples=200, seed=1)
    assert paired_bootstrap(b, a, samples=200, seed=1).difference == -result.difference


def test_several_trainings_of_a_side_widen_the_interval_by_their_own_spread():
    rows, found = random_case(3, videos=12)
    good = [(v, c, s, e, 0.9) for v, c, s, e in rows]
    truth = truth_of(rows)
    weak, strong = (Evaluation(truth, frame_of(f), [0.5]) for f in (found, good))
    same = paired_bootstrap([weak, weak], [strong, strong], samples=200, seed=1)
    single = paired_bootstrap(weak, strong, samples=200, seed=1)
    assert same.difference == pytest.approx(single.difference)
    assert (same.low, same.high) == pytest.approx((single.low, single.high), abs=0.06)
    # trainings that differ among themselves more than the sides do: nothing can be said
    torn = paired_bootstrap([weak, strong], [strong, weak], samples=200, seed=1)
    assert torn.difference == pytest.approx(0.0)
    assert torn.low < -0.1 and torn.high > 0.1 and torn.p_value > 0.5
    with pytest.raises(EvaluationError, match="nothing to pair"):
        paired_bootstrap([], strong)


def test_only_alike_evaluations_pair():
    rows, found = random_case(4)
    a = Evaluation(truth_of(rows), frame_of(found), [0.5])
    with pytest.raises(EvaluationError, match="nothing to pair"):
        paired_bootstrap(a, Evaluation(truth_of(rows), frame_of(found), [0.6]))
    one = truth_of(rows[:1])
    only = Evaluation(one, frame_of([(*rows[0], 0.5)]), [0.5])
    with pytest.raises(EvaluationError, match="at least two videos"):
        paired_bootstrap(only, only)
