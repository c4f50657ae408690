"""`longtal review --next`: what is printed, what is kept of it, and where the thresholds come from."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

import cli
from pipelines.review import OutputFile, ReviewState, collect_review
from pipelines.review.next import NextOptions, known_lines, look_next
from pipelines.review.run import ReviewError
from tal.annotations import read_annotations
from tal.annotations.corrections import (
    Corrections,
    Judgement,
    VideoCorrections,
    read_corrections,
    write_corrections,
)
from tal.review import Estimate
from tests.pipelines.review.review_data import make_data, serving


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("next")
    make_data(folder, num_videos=3, duration_s=60.0)
    return folder


@pytest.fixture
def world(made, tmp_path):
    """Predictions, annotations and videos, without corrections."""
    shutil.copytree(made, tmp_path / "world")
    return tmp_path / "world"


def longtal(world, *words):
    command = [
        "review",
        str(world / "predictions.json"),
        "--out",
        str(world / "corrections.json"),
        *map(str, words),
    ]
    return CliRunner().invoke(cli.cli, command, prog_name="longtal")


def told(world, *words):
    result = longtal(world, "--videos", world / "videos", "--threshold", 0.5, "--json", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_list_is_of_the_videos_and_its_random_stretches_are_kept(world):
    answer = told(world, "--next", 10)
    assert 5 <= len(answer["next"]) <= 10
    for item in answer["next"]:
        start, end = item["segment"]
        assert item["video"].startswith("video_") and 0 <= start < end <= 60.1
    drawn = [(i["video"], *i["segment"], i["probability"]) for i in answer["next"] if i["reason"] == "random"]
    kept = read_corrections(world / "corrections.json").videos
    assert sorted(drawn) == sorted(
        (v.id, s.start_s, s.end_s, s.probability) for v in kept.values() for s in v.sampled
    )
    assert len(drawn) >= 2
    assert answer["random_stretches"] == {"drawn": len(drawn), "reviewed": 0}
    assert answer["total_s"] == pytest.approx(180, abs=1)
    assert told(world, "--next", 10)["next"] == answer["next"]  # nobody looked: the same again
    assert told(world, "--next", 10)["random_stretches"]["drawn"] == len(drawn)


def test_what_was_reviewed_is_not_offered_and_what_it_says_is_told(world):
    first = told(world, "--next", 6)["next"]
    truth = read_annotations(
        next(p for p in world.glob("*.json") if p.name not in ("predictions.json", "corrections.json"))
    )
    there = read_corrections(world / "corrections.json").videos
    everything = {
        v.id: VideoCorrections(
            v.id,
            actions=tuple(Judgement(s, "corrected") for s in v.segments),
            reviewed=((0.0, 61.0),),
            sampled=there[v.id].sampled if v.id in there else (),
        )
        for v in truth.videos.values()
    }
    write_corrections(Corrections(truth.labels, everything), world / "corrections.json")
    after = told(world, "--next", 6)
    assert after["next"] == []
    assert after["among_reviewed"]["judged"] > 0
    assert after["recall"] is None  # far too few
    random_ones = [item for item in first if item["reason"] == "random"]
    assert after["random_stretches"]["reviewed"] >= len(random_ones) > 0
    lines = longtal(world, "--videos", world / "videos", "--threshold", 0.5, "--next", 6).output
    assert "reviewed 3:00 of 3:00" in lines
    assert "among reviewed: " in lines
    assert "known from 10 reviewed random stretches on" in lines


def test_disagreement_with_another_file_is_looked_at(world):
    other = json.loads((world / "predictions.json").read_text())
    for found in other["results"].values():
        for item in found:
            item["label"] = "jump"
    (world / "other.json").write_text(json.dumps(other))
    answer = told(world, "--next", 20, "--against", world / "other.json")
    assert "disagreement" in {item["reason"] for item in answer["next"]}
    assert "disagreement" not in {item["reason"] for item in told(world, "--next", 20)["next"]}


def test_another_run_counts_by_its_own_thresholds(world):
    """The same detections at half the score, and half the threshold: nobody disagrees."""
    other = json.loads((world / "predictions.json").read_text())
    for found in other["results"].values():
        for item in found:
            item["score"] /= 2
    (world / "other").mkdir()
    (world / "other" / "predictions.json").write_text(json.dumps(other))
    reasons = {item["reason"] for item in told(world, "--next", 20, "--against", world / "other")["next"]}
    assert "disagreement" in reasons
    (world / "other" / "manifest.json").write_text(
        '{"thresholds": {"jump": 0.25, "squat": 0.25}, "videos": {}}'
    )
    reasons = {item["reason"] for item in told(world, "--next", 20, "--against", world / "other")["next"]}
    assert "disagreement" not in reasons


def test_thresholds_come_from_the_options_or_from_beside_the_predictions(world):
    review = collect_review(world / "predictions.json", world / "videos")
    out = world / "c.json"
    with pytest.raises(ReviewError, match="--threshold"):
        look_next(world / "predictions.json", review, out, NextOptions(5))
    (world / "t.json").write_text('{"jump": 0.3, "squat": 0.4}')
    by_file = look_next(world / "predictions.json", review, out, NextOptions(5, None, world / "t.json"))
    (world / "manifest.json").write_text('{"thresholds": {"jump": 0.3, "squat": 0.4}, "videos": {}}')
    beside = look_next(world / "predictions.json", review, out, NextOptions(5))
    assert by_file.queue.items == beside.queue.items
    plain = look_next(
        None, collect_review(None, world / "videos", labels=["a"]), world / "d.json", NextOptions(5)
    )
    assert {item.reason for item in plain.queue.items} <= {"nothing found", "random"}


def test_videos_of_unknown_length_are_named(world):
    result = longtal(world, "--threshold", 0.5, "--next", 5)
    assert result.exit_code != 0
    assert "not known how long the videos are" in str(result.exception or result.output)
    (world / "videos" / "video_00.mp4").unlink()
    answer = told(world, "--next", 50)
    assert {item["video"] for item in answer["next"]} == {"video_01", "video_02"}
    assert answer["notes"] == ["1 videos are left out, of unknown length: 'video_00'"]
    assert answer["total_s"] == pytest.approx(120, abs=1)


def test_beside_an_open_page_nothing_is_written_and_that_is_said(world):
    before = told(world, "--next", 5)
    (world / "corrections.json").unlink()
    with serving(world):
        answer = told(world, "--next", 5)
        assert answer["next"] == before["next"]
        assert "is open in another" in answer["notes"][0]
        assert not (world / "corrections.json").exists()
    assert told(world, "--next", 5)["notes"] == []
    assert (world / "corrections.json").exists()


def test_a_kept_sample_survives_a_change_in_the_page(world):
    told(world, "--next", 5)
    kept = read_corrections(world / "corrections.json")
    video = next(v for v in kept.videos.values() if v.sampled)
    with OutputFile(world / "corrections.json") as file:
        state = ReviewState(collect_review(world / "predictions.json", world / "videos"), file)
        state.save(video.id, 1, [{"step": "do", "minus": {"reviewed": []}, "plus": {"reviewed": [[0, 5]]}}])
    after = read_corrections(world / "corrections.json").videos[video.id]
    assert (after.sampled, after.reviewed) == (video.sampled, ((0.0, 5.0),))


def test_people_are_told_intervals_only_where_there_are_any():
    nothing = Estimate(0.0, 600.0, 0, 0, None, None, 0, 0)
    assert list(known_lines(nothing)) == [
        "reviewed 0:00 of 10:00; of 0 random stretches 0",
        "precision and recall of all time: known from 10 reviewed random stretches on that hold something",
    ]
