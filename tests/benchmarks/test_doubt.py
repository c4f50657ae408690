"""The study of review orders: both orders spend the same minutes, and what is said is the truth."""

import json

import pandas as pd
import pytest

from benchmarks import doubt
from benchmarks.doubt import LABELLED, SHARE, Reviewer, at_random, by_doubt, elsewhere, lines, split
from benchmarks.doubt import Result as SeedResult
from tal.annotations import AnnotationSet, Segment, VideoAnnotation, prediction_frame
from tal.annotations.corrections import Corrections
from tal.annotations.spans import subtract
from tal.review import Estimate

LABELS = ("sit", "walk")


@pytest.fixture
def whole():
    """Twenty recordings of 200 s, an action every 20 s."""
    videos = {}
    for number in range(20):
        actions = tuple(Segment(20.0 * k + 3, 20.0 * k + 15, LABELS[k % 2]) for k in range(10))
        name, subset = f"r{number:02d}", "training" if number < 17 else "validation"
        videos[name] = VideoAnnotation(name, subset, actions, duration_s=200.0)
    return AnnotationSet(videos, LABELS)


@pytest.fixture
def predictions(whole) -> pd.DataFrame:
    rows = [
        (v.id, s.start_s, s.end_s + 1, s.label, 0.5 + 0.01 * k)
        for v in whole.videos.values()
        for k, s in enumerate(v.segments)
    ]
    return prediction_frame(*zip(*rows, strict=True))


def test_a_split_keeps_every_recording_once(whole):
    parts = split(whole, 0)
    ids = [set(part.videos) for part in (parts.labelled, parts.pool, parts.validation)]
    assert [len(part) for part in ids] == [LABELLED, 17 - LABELLED, 3]
    assert set.union(*ids) == set(whole.videos)
    assert split(whole, 0).labelled == parts.labelled
    assert set(split(whole, 1).labelled.videos) != ids[0]


def test_both_orders_spend_a_third_of_the_minutes_and_say_the_truth(whole, predictions):
    parts = split(whole, 0)
    ours = predictions[predictions["video_id"].isin(list(parts.pool.videos))]
    budget_s = SHARE * sum(parts.durations.values())
    reviews = [at_random(parts, LABELS, 0), by_doubt(parts, LABELS, ours, {"sit": 0.5, "walk": 0.6}, 0)]
    reviews.append(elsewhere(parts, LABELS, reviews[1], 0))
    for review in reviews:
        assert sum(v.reviewed_s for v in review.videos.values()) == pytest.approx(budget_s)
        for video in review.videos.values():
            truth = set(parts.pool.videos[video.id].segments)
            said = {a.segment for a in video.actions}
            assert said <= truth
            for action in truth - said:  # nobody looked at any part of it
                assert subtract((action.start_s, action.end_s), video.reviewed) == [
                    (action.start_s, action.end_s)
                ]
    lengths = [sorted(e - s for v in r.videos.values() for s, e in v.reviewed) for r in reviews[1:]]
    assert sum(lengths[1]) == pytest.approx(sum(lengths[0]))
    assert max(lengths[1]) >= max(lengths[0]) - 1e-6  # those that touch are one
    drawn = [s for v in reviews[1].videos.values() for s in v.sampled]
    assert len(drawn) >= 4 and len({s.probability for s in drawn}) == 1
    assert not any(v.sampled for v in reviews[0].videos.values())


def test_a_stretch_is_reviewed_once_and_the_last_is_cut(whole):
    parts = split(whole, 0)
    reviewer = Reviewer(parts, LABELS)
    video = next(iter(parts.pool.videos))
    reviewer.look_at(video, (0.0, 60.0))
    reviewer.look_at(video, (30.0, 90.0))
    assert reviewer.minutes == pytest.approx(1.5)
    for other in parts.pool.videos:
        reviewer.look_at(other, (0.0, 200.0))
    assert reviewer.done
    assert reviewer.minutes * 60 == pytest.approx(SHARE * sum(parts.durations.values()))
    assert isinstance(reviewer.corrections({}), Corrections)


def test_the_ratio_is_of_shares_of_the_way_to_full_labels():
    nothing = Estimate(60.0, 180.0, 0, 0, None, None, 0, 0)
    scores = [
        dict(before=0.2, random=0.3, placed=0.3, doubt=0.4, full=0.6),
        dict(before=0.2, random=0.3, placed=0.3, doubt=0.5, full=0.6),
    ]
    results = [SeedResult(k, s, nothing, nothing) for k, s in enumerate(scores)]
    text = "\n".join(lines(results))
    assert "doubt 0.62, random 0.25, ratio 2.50" in text
    assert "doubt - random +0.150 ± 0.071, standard error 0.050" in text
    assert "seed 1: 1 of 3 minutes reviewed" in text


def test_each_seed_adds_to_the_file(monkeypatch, tmp_path, capsys):
    nothing = Estimate(60.0, 180.0, 0, 0, None, None, 0, 0)
    monkeypatch.setattr(doubt, "Study", lambda *_arguments: None)
    scores = dict(before=0.2, random=0.3, placed=0.3, doubt=0.4, full=0.6)
    monkeypatch.setattr(doubt, "one_seed", lambda _study, seed: SeedResult(seed, scores, nothing, nothing))
    monkeypatch.setattr("sys.argv", ["doubt", "--data", "x", "--out", str(tmp_path), "--seeds", "3"])
    doubt.main()
    assert [r["seed"] for r in json.loads((tmp_path / "doubt.json").read_text())] == [0, 1, 2]
    assert capsys.readouterr().out.count("ratio 2.00") == 3
