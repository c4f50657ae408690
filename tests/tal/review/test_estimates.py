"""Precision and recall from random stretches: against populations whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tal.annotations import Segment, prediction_frame
from tal.annotations.corrections import Corrections, Judgement, Sample, VideoCorrections
from tal.errors import EvaluationError
from tal.review import Estimate, estimate, next_items, record_samples
from tal.review.estimates import ENOUGH, share, t_quantile, wilson
from tal.review.options import QueueOptions

Counts = NDArray[np.float64]


def population(
    rng: np.random.Generator, size: int, rate: float, recall: float, precision: float
) -> tuple[Counts, Counts, Counts]:
    """Right detections, all detections and actions of each stretch, [size].

    Stretches differ in how much happens and in how well it is found, as scenes do.
    """
    actions = rng.poisson(rng.gamma(1.0, rate, size))
    right = rng.binomial(actions, rng.beta(4 * recall, 4 * (1 - recall), size))
    false = rng.poisson(right * (1 - precision) / precision)
    return right.astype(float), (right + false).astype(float), actions.astype(float)


def samples(
    rng: np.random.Generator, columns: tuple[Counts, Counts], number: int, times: int
) -> Iterator[tuple[Counts, Counts]]:
    """Simple random samples of stretches."""
    for _ in range(times):
        chosen = rng.choice(len(columns[0]), number, replace=False)
        yield columns[0][chosen], columns[1][chosen]


@pytest.mark.parametrize("number", [32, 50, 80])
@pytest.mark.parametrize("rate", [0.7, 3.0])
@pytest.mark.parametrize("quality", [0.6, 0.95])
def test_the_interval_holds_the_truth(number: int, rate: float, quality: float) -> None:
    rng = np.random.default_rng([number, int(10 * rate), int(100 * quality)])
    right, detections, actions = population(rng, 3000, rate, quality, quality)
    for whole in (detections, actions):
        truth = right.sum() / whole.sum()
        told = [share(*s, np.ones(number), ENOUGH) for s in samples(rng, (right, whole), number, 400)]
        held = [part.low <= truth <= part.high for part in told if part is not None]
        assert len(held) >= 100
        assert np.mean(held) >= 0.95 - 3 * (0.95 * 0.05 / len(held)) ** 0.5


@pytest.mark.parametrize("quality", [0.6, 0.9])
def test_the_estimate_is_right_on_average_with_unequal_probabilities(quality: float) -> None:
    rng = np.random.default_rng(7)
    right, _, actions = population(rng, 2000, 2.0, quality, quality)
    # busy stretches are drawn three times as often and are found better: unweighted shares are too high
    busy = actions > 2
    right[busy] = actions[busy]
    truth = right.sum() / actions.sum()
    probability = np.where(busy, 3.0, 1.0)
    probability /= probability.sum()
    values, plain = [], []
    for _ in range(400):
        drawn = rng.choice(len(right), 60, p=probability)
        for weight, into in ((1 / probability[drawn], values), (np.ones(60), plain)):
            part = share(right[drawn], actions[drawn], weight, 1)
            assert part is not None
            into.append(part.value)
    error = np.std(values) / 20  # of the mean of 400
    assert np.mean(values) == pytest.approx(truth, abs=4 * error)
    assert np.mean(plain) > truth + 4 * error


def test_the_usual_bootstrap_would_miss_the_truth() -> None:
    """Why the interval is not a bootstrap over stretches."""
    rng = np.random.default_rng(1)
    right, detections, _ = population(rng, 3000, 0.7, 0.95, 0.95)
    truth, held = right.sum() / detections.sum(), []
    for part, whole in samples(rng, (right, detections), 20, 200):
        again = rng.integers(0, 20, (400, 20))
        sums = whole[again].sum(1)
        low, high = np.quantile(part[again].sum(1)[sums > 0] / sums[sums > 0], [0.025, 0.975])
        held.append(low <= truth <= high)
    assert np.mean(held) < 0.8


def test_quantiles_and_wilsons_interval_are_the_tables() -> None:
    tables = {9: 2.262, 20: 2.086, 60: 2.000, 10**6: 1.960}  # Student's t, 97.5 %
    for freedom, value in tables.items():
        assert t_quantile(freedom) == pytest.approx(value, abs=2e-3)
    # both ends solve (p - v)^2 = z^2 p (1 - p) / n, which defines the interval
    for v, n, z in ((0.3, 20.0, 1.96), (0.99, 7.5, 2.2), (1.0, 10.0, 2.0)):
        for p in wilson(v, n, z):
            assert (p - v) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, abs=1e-12)


def test_too_few_stretches_say_nothing() -> None:
    held = np.array([1.0] * 9 + [0.0] * 30)
    assert share(held, held, np.ones(39), 10) is None
    held[10] = 1
    told = share(held, held, np.ones(39), 10)
    assert told is not None
    assert (told.value, told.high, told.stretches) == (1.0, 1.0, 10)
    assert 0.6 < told.low < 0.7  # ten of ten right
    assert share(np.zeros(0), np.zeros(0), np.zeros(0), 0) is None


def world(seed: int, videos: int = 12) -> tuple[pd.DataFrame, dict[str, float], dict[str, list[Segment]]]:
    """Detections, durations and true actions of made-up videos."""
    rng = np.random.default_rng(seed)
    rows, durations, truth = [], {}, {}
    for v in range(videos):
        name = f"v{v}"
        durations[name], truth[name], time = 600.0, [], 0.0
        while (time := time + rng.exponential(12)) < 585:
            action = Segment(time, time + rng.uniform(2, 12), str(rng.choice(["x", "y"])))
            time = action.end_s
            truth[name].append(action)
            if rng.random() < 0.7:
                rows.append((name, action.start_s + rng.normal(0, 0.3), action.end_s, action.label, 0.8))
            if rng.random() < 0.3:
                rows.append((name, action.end_s + 1, action.end_s + 5, "x", rng.uniform(0.2, 0.9)))
    return prediction_frame(*zip(*rows, strict=True)), durations, truth


def corrected(
    truth: dict[str, list[Segment]],
    spans: dict[str, list[tuple[float, float]]],
    **sampled: tuple[Sample, ...],
) -> Corrections:
    """What a person who never errs says of reviewed stretches."""
    videos = {}
    for v, actions in truth.items():
        seen = [s for s in actions if any(s.start_s < e and s.end_s > b for b, e in spans.get(v, []))]
        videos[v] = VideoCorrections(
            v,
            actions=tuple(Judgement(s, "corrected") for s in seen),
            reviewed=tuple(sorted(spans.get(v, []))),
            sampled=sampled.get(v, ()),
        )
    return Corrections(("x", "y"), videos)


def everything(truth: dict[str, list[Segment]], durations: dict[str, float]) -> Corrections:
    samples = {v: (Sample(0, d, 1),) for v, d in durations.items()}
    return corrected(truth, {v: [(0, d)] for v, d in durations.items()}, **samples)


def plain(predictions: pd.DataFrame, truth: dict[str, list[Segment]]) -> tuple[int, int, int]:
    """True positives, detections and actions, matched the slow way."""
    shown = predictions[predictions["score"] >= 0.5].sort_values("score", ascending=False, kind="stable")
    hits = 0
    taken: set[tuple[str, int]] = set()
    for row in shown.itertuples():
        best, found = 0.0, -1
        for k, s in enumerate(truth[str(row.video_id)]):
            inner = min(row.end_s, s.end_s) - max(row.start_s, s.start_s)
            overlap = inner / (row.end_s - row.start_s + s.duration_s - inner)
            free = (str(row.video_id), k) not in taken and s.label == row.label
            if free and overlap >= 0.5 and overlap > best:
                best, found = overlap, k
        if found >= 0:
            taken.add((str(row.video_id), found))
            hits += 1
    return hits, len(shown), sum(map(len, truth.values()))


def test_all_of_it_reviewed_gives_the_slow_count() -> None:
    predictions, durations, truth = world(3)
    told = estimate(predictions, durations, 0.5, everything(truth, durations))
    hits, detections, actions = plain(predictions, truth)
    assert told.precision is not None
    assert told.recall is not None
    assert told.precision.value == pytest.approx(hits / detections)
    assert told.recall.value == pytest.approx(hits / actions)
    assert (told.right, told.judged) == (hits, detections)
    assert told.reviewed_s == told.total_s == 7200
    assert 0.5 < told.recall.value < 0.9


def sit(seed: int, rounds: int) -> tuple[Estimate, Estimate]:
    """What is estimated after some rounds of `next_items`, and the truth."""
    predictions, durations, truth = world(seed)
    options = QueueOptions(stretch_s=30)
    known, spans = corrected(truth, {}), dict[str, list[tuple[float, float]]]()
    for _ in range(rounds):
        queue = next_items(predictions, durations, 0.5, known, count=30, seed=seed, options=options)
        for item in queue.items:
            spans.setdefault(item.video_id, []).append((item.start_s, item.end_s))
        kept = record_samples(known, queue)
        known = corrected(truth, spans, **{v: kept.videos[v].sampled for v in truth})
    whole = estimate(predictions, durations, 0.5, everything(truth, durations))
    return estimate(predictions, durations, 0.5, known), whole


def test_a_review_by_doubt_tells_the_truth_of_all_time() -> None:
    """The doubtful stretches do not count: among them precision is far lower than in all."""
    held, errors, among = [], [], []
    for seed in range(40):
        told, whole = sit(seed, 5)
        for part, true in ((told.precision, whole.precision), (told.recall, whole.recall)):
            assert part is not None
            assert true is not None
            held.append(part.low <= true.value <= part.high)
            errors.append(part.value - true.value)
        assert told.among_reviewed is not None
        assert whole.precision is not None
        among.append(told.among_reviewed - whole.precision.value)
        assert told.seen == 30
    assert np.mean(held) >= 0.85  # 80, of which 0.95 are meant: four standard errors
    assert abs(np.mean(errors)) < 0.015
    assert abs(np.mean(among)) > 0.03


def test_without_enough_there_is_what_was_reviewed_and_no_recall() -> None:
    told, _ = sit(0, 1)
    assert (told.precision, told.recall) == (None, None)
    assert told.drawn == told.seen == 6
    assert told.judged >= 10
    assert told.to_json()["recall"] is None
    assert told.to_json()["among_reviewed"]["precision"] == told.right / told.judged


def test_what_was_drawn_and_not_reviewed_in_full_does_not_count() -> None:
    predictions, durations, truth = world(0)
    drawn = tuple(Sample(30.0 * k, 30.0 * k + 30, 1 / 240) for k in range(4))
    known = corrected(truth, {"v0": [(0, 59.95), (90, 110)]}, v0=drawn)
    told = estimate(predictions, durations, 0.5, known, enough=1)
    assert (told.drawn, told.seen) == (4, 2)


def test_nothing_reviewed_or_found_is_no_error() -> None:
    predictions, durations, truth = world(0)
    nothing = estimate(predictions, durations, 0.5, Corrections((), {}))
    assert (nothing.reviewed_s, nothing.judged, nothing.among_reviewed) == (0, 0, None)
    blind = estimate(predictions, durations, 2.0, everything(truth, durations), enough=1)
    assert blind.precision is None
    assert blind.recall is not None
    assert blind.recall.value == 0
    alien = predictions.assign(label="z")
    wrong = estimate(alien, durations, 0.5, everything(truth, durations), enough=1)
    assert wrong.precision is not None
    assert (wrong.precision.value, wrong.right) == (0, 0)
    with pytest.raises(EvaluationError, match=r"0\.5 to 1"):
        estimate(predictions, durations, 0.5, Corrections((), {}), tiou=0.3)
