"""Predictions whose times are not what the evaluator takes them for: mAP 0 says why."""

import json

import pytest
from click.testing import CliRunner

from cli import cli

DURATION_S, FPS = 80.0, 25.0
SEGMENTS = [[10.0 * k, 10.0 * k + 5.0] for k in range(1, 7)]


def notes_of(folder, change, durations=True):
    """mAP at tIoU 0.5 and the notes of an evaluation in which every prediction was changed."""
    database, results = {}, {}
    for video in ("a", "b", "c"):
        database[video] = {"subset": "test", "annotations": [{"label": "x", "segment": s} for s in SEGMENTS]}
        if durations:
            database[video] |= {"duration": DURATION_S, "fps": FPS}
        results[video] = [{"label": "x", "score": 0.5, "segment": change(s)} for s in SEGMENTS]
    (folder / "a.json").write_text(json.dumps({"database": database}))
    (folder / "p.json").write_text(json.dumps({"results": results}))
    words = [
        "--annotations",
        folder / "a.json",
        folder / "p.json",
        "--tiou",
        "0.5",
        "--json",
        folder / "r.json",
    ]
    done = CliRunner().invoke(cli, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    report = json.loads((folder / "r.json").read_text())
    return report["average_mAP"], report["notes"]


def test_seconds_leave_no_doubt(tmp_path):
    assert notes_of(tmp_path, lambda s: s) == (1.0, [])


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda s: [t * FPS for t in s], "numbers of frames: divide them by the frame rates"),
        (lambda s: [t * 1000 for t in s], "milliseconds: divide them by 1000"),
        (lambda s: [t / DURATION_S for t in s], "shares of the video's duration: multiply"),
    ],
)
def test_another_unit_is_said(tmp_path, change, note):
    value, notes = notes_of(tmp_path, change)
    assert value == 0.0 and len(notes) == 1 and f"p.json: predicted times look like {note}" in notes[0]


def test_shares_are_seen_without_durations(tmp_path):
    _, notes = notes_of(tmp_path, lambda s: [t / DURATION_S for t in s], durations=False)
    assert len(notes) == 1 and "shares of the video's duration" in notes[0]
    later = notes_of(tmp_path, lambda s: [t + 500 for t in s], durations=False)[1]
    assert later == [], "a video may go on after its last action"


def test_ends_before_starts_are_counted(tmp_path):
    value, notes = notes_of(tmp_path, lambda s: s[::-1])
    assert value == 0.0
    assert notes == [
        "p.json: 18 of 18 predictions end at or before their start, and find nothing: is a segment "
        "[start, end]?"
    ]
