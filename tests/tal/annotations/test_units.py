"""Times in frames, milliseconds, shares and misread clocks, told by durations; seconds never are."""

import json

import numpy as np
import pytest

from tal.annotations import read_annotations
from tal.annotations.units import Reach, likely_unit

FPS = [25.0, 29.97, 25.0, 50.0, 12.5, 25.0]


def last_actions(scale=lambda seconds, k: seconds, number=6, seed=0, with_rate=True):
    """Videos of 20 to 300 s whose last action ends in their second half, in the unit that ``scale`` gives."""
    rng = np.random.default_rng(seed)
    durations = rng.uniform(20, 300, number)
    ends = durations * rng.uniform(0.5, 1.0, number)
    return [
        Reach(float(scale(end, k)), float(duration), FPS[k] if with_rate else None)
        for k, (end, duration) in enumerate(zip(ends, durations, strict=True))
    ]


@pytest.mark.parametrize(
    ("scale", "with_rate", "unit"),
    [
        (lambda s, k: s * FPS[k], True, "numbers of frames: divide"),
        (lambda s, k: s * 25.0, False, "numbers of frames (at 2"),
        (lambda s, k: s * 1e3, True, "milliseconds: divide them by 1000"),
        (lambda s, k: s * 1e3, False, "milliseconds"),
        (lambda s, k: s * 1e6, True, "microseconds: divide them by 1000000"),
        (lambda s, k: s * 1e7, True, "steps of 100 ns: divide them by 10000000"),
        (lambda s, k: round(s) * 60, True, "minutes and seconds that were read as hours and minutes"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_units_that_are_told(scale, with_rate, unit, seed):
    assert likely_unit(last_actions(scale, seed=seed, with_rate=with_rate)).startswith(unit)


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_told(seed):
    shares = [Reach(r.ratio, r.duration_s) for r in last_actions(seed=seed)]
    assert likely_unit(shares).startswith("shares of the video's duration")


def test_seconds_are_seconds():
    seconds = last_actions()
    assert likely_unit(seconds) == ""
    assert likely_unit([Reach(r.duration_s * 1.05, r.duration_s, r.fps) for r in seconds]) == ""
    one_wrong = [Reach(seconds[0].end * 1000, seconds[0].duration_s), *seconds[1:]]
    assert likely_unit(one_wrong) == ""


def test_short_videos_and_few_videos_say_nothing():
    assert likely_unit([Reach(0.9, 1.0)] * 10) == ""
    assert likely_unit(last_actions(lambda s, k: s * 1e3, number=2)) == ""
    assert likely_unit([Reach(5000.0, 0.0)] * 10) == "" and likely_unit([]) == ""


def test_what_fits_no_unit_is_not_seconds_either():
    samples = last_actions(lambda s, k: s * 16_000)
    assert likely_unit(samples).startswith("another unit than seconds: they end at 1")
    wrong_durations = [
        Reach(r.duration_s * (1.5 + 0.01 * k), r.duration_s, 1.2) for k, r in enumerate(samples)
    ]
    assert likely_unit(wrong_durations) == ""


def test_readers_say_it(tmp_path):
    database = {
        f"v{k}": {
            "duration": r.duration_s,
            "fps": r.fps,
            "annotations": [{"label": "a", "segment": [1, r.end * r.fps]}],
        }
        for k, r in enumerate(last_actions())
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"database": database}))
    notes = read_annotations(path).notes
    assert any("the times of a.json look like numbers of frames" in note for note in notes)


@pytest.mark.parametrize("label", ["background", "Background", "SIL", "no_action", "No Action", "BG", "None"])
def test_a_label_for_what_is_no_action_is_said(tmp_path, label):
    path = tmp_path / "t.csv"
    path.write_text(f"video,start,end,label\nv,0,1,{label}\nv,1,2,jump\n")
    annotations = read_annotations(path)
    assert label in annotations.labels, "it is a class all the same"
    assert [
        note
        for note in annotations.notes
        if repr(label) in note and "what is not annotated is background" in note
    ]


@pytest.mark.parametrize("label", ["jump", "silence", "none of the above", "back ground walk"])
def test_other_labels_are_actions(tmp_path, label):
    path = tmp_path / "t.csv"
    path.write_text(f"video,start,end,label\nv,0,1,{label}\n")
    assert read_annotations(path).notes == ()
