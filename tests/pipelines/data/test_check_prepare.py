"""`check` finds what was planted; `prepare` keeps pictures and times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from pipelines.data.check import check
from pipelines.data.prepare import PrepareConfig, prepare
from tal.errors import ConfigError
from tal.video import open_video
from tests.tal.video.recorders import Recording, put_together, record
from tests.tal.video.video_corpus import Make, make_video

_X264 = {"preset": "ultrafast", "bf": "0"}


def _entry(segments: list[tuple[float, float, str]], duration: float = 2.0, subset: str = "training") -> dict:
    listed = [{"segment": [a, b], "label": label} for a, b, label in segments]
    return {"subset": subset, "duration": duration, "annotations": listed}


def _data(folder: Path) -> tuple[Path, Path]:
    videos = folder / "videos"
    videos.mkdir()
    for name in ("good", "short", "typo"):
        make_video(Make(name, "libx264", pictures=50, options=_X264), videos)
    (videos / "broken.mp4").write_bytes(b"x" * 100)
    database = {
        "good": _entry([(t / 10, 1.0, "jump") for t in range(5)]),
        "short": _entry([(0.5, 9.0, "jump"), (0, 1, "run"), (0, 1, "run")], duration=12.0),
        "typo": _entry([(0, 1, "Jump"), (1.5, 1.0, "run")]),
        "broken": _entry([(0, 1, "run")], subset="validation"),
        "gone": _entry([(0, 1, "run")], subset="validation"),
    }
    annotations = folder / "anno.json"
    annotations.write_text(json.dumps({"database": database}))
    return annotations, videos


def test_check_finds_what_was_planted(tmp_path: Path) -> None:
    annotations, videos = _data(tmp_path)
    found = {(p.check, p.video) for p in check(annotations, videos).problems}
    planted = {
        ("missing", "gone"),
        ("unreadable", "broken"),
        ("duration", "short"),
        ("out of range", "short"),
        ("label", "typo"),
        ("empty segment", "typo"),
        ("subset", ""),
    }
    assert planted <= found
    assert not any(video == "good" for _, video in found)
    done = CliRunner().invoke(
        cli, ["-q", "check", "--annotations", str(annotations), "--videos", str(videos)]
    )
    assert done.exit_code == 1 and "findings" in done.output


def test_prepare_keeps_pictures_and_times(tmp_path: Path) -> None:
    _, videos = _data(tmp_path)
    config = PrepareConfig(videos, tmp_path / "out", fps=10.0, size=48, gop=5, crf=10)
    report = prepare(config)
    assert sorted(report.done) == ["good", "short", "typo"] and list(report.failed) == ["broken"]
    with open_video(videos / "good.mp4") as before, open_video(tmp_path / "out" / "good.mp4") as after:
        assert after.num_frames(10.0) == before.num_frames(10.0) == 20
        a, _ = before.frames(np.arange(20), 10.0, size=48)
        b, _ = after.frames(np.arange(20), 10.0, size=48)
    assert a.shape == b.shape
    # picture k is like picture k, and like no other
    apart = np.abs(a[:, None].astype(int) - b[None]).mean((2, 3, 4))
    assert (apart.argmin(1) == np.arange(20)).all()
    assert prepare(config).kept == ["good", "short", "typo"]
    with pytest.raises(ConfigError, match="was made with"):
        prepare(PrepareConfig(videos, tmp_path / "out", fps=5.0))


def test_check_says_what_was_bent_to_read_a_file(tmp_path: Path) -> None:
    parts = [record(tmp_path / f"{grey}.ts", Recording([grey] * 50)) for grey in (40, 200)]
    videos = tmp_path / "videos"
    videos.mkdir()
    put_together(videos / "cat.ts", *parts)
    late = record(videos / "late.mkv", Recording([30] * 75 + [220] * 25, late=50, sound_s=6.0))
    annotations = tmp_path / "anno.csv"
    annotations.write_text("video,start,end,label,duration\ncat,2.2,3.8,jump,4.0\nlate,5.0,6.0,flash,6.0\n")
    report = check(annotations, videos)
    assert report.num_errors == 0, report.table()
    assert report.notes[-3:-1] == (
        "cat: its clock starts again at 2.00 s: 2 parts follow each other",
        "late: its first picture comes 2.00 s after the file's start, which times count from",
    )
    with open_video(late) as video:
        flash, valid = video.frames([24, 25, 29], 5.0)
        assert valid.all() and [round(float(p.mean())) for p in flash] == [30, 220, 220]
