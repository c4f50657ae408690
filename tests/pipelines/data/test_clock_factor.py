"""Annotations on another clock than the videos', and damage inside files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from pipelines.data.check import NOT_DECODED, check
from pipelines.init.run import InitOptions, init_project
from tal.annotations import read_annotations
from tal.annotations.clock_factor import clock_factor
from tests.pipelines.tiny_run import make_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clocks")
    make_data(folder)  # 8 videos of 7 to 10 s, 16 pictures a second
    return folder


def on_another_clock(data: Path, factor: float, out: Path, odd: str = "") -> Path:
    tree = json.loads((data / "annotations.json").read_text())
    for name, video in tree["database"].items():
        by = factor * (1.3 if name == odd else 1.0)
        video["duration"] *= by
        for annotation in video["annotations"]:
            annotation["segment"] = [t * by for t in annotation["segment"]]
    out.write_text(json.dumps(tree))
    return out


@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        (0.5, "a copy at half speed"),
        (2.0, "a copy at double speed"),
        (16 / 25, "pictures of 16 a second counted at 25 a second"),
        (16.0, "numbers of frames (of 16 a second)"),
        (1000.0, "milliseconds"),
        (1.37, ""),
    ],
)
def test_a_common_factor_is_named_once_with_its_cause(
    data: Path, tmp_path: Path, factor: float, cause: str
) -> None:
    report = check(on_another_clock(data, factor, tmp_path / "a.json"), data / "videos")
    (problem,) = [p for p in report.problems if p.check == "clock"]
    assert f"annotated durations are {factor:.4g} times the files' in 8 of 8 videos" in problem.detail
    assert (f"as {cause} would make them" in problem.detail) == bool(cause)
    assert not [p for p in report.problems if p.check == "duration"]


def test_an_odd_video_is_listed_by_itself(data: Path, tmp_path: Path) -> None:
    few = on_another_clock(data, 1.0, tmp_path / "one.json", odd="v03")
    problems = [(p.check, p.video) for p in check(few, data / "videos").problems]
    assert [p for p in problems if p[0] in ("clock", "duration")] == [("duration", "v03")]
    found = clock_factor({f"v{i}": (5.0, 10.0) for i in range(20)} | {"odd": (10.0, 10.0)})
    assert found is not None and found.factor == 0.5 and "odd" not in found.videos and found.num_known == 21


def test_no_factor_where_there_is_none() -> None:
    assert clock_factor({f"v{i}": (10.0 + i, 10.0 + i) for i in range(9)}) is None
    assert clock_factor({f"v{i}": (10.2, 10.0) for i in range(9)}) is None  # rounding
    assert clock_factor({f"v{i}": (10.0 * (1 + i / 9), 10.0) for i in range(9)}) is None
    assert clock_factor({"a": (5.0, 10.0), "b": (5.0, 10.0)}) is None  # two may be an accident


def test_the_remedy_puts_them_on_the_files_clock(data: Path, tmp_path: Path) -> None:
    path = on_another_clock(data, 0.64, tmp_path / "a.json")
    words = check(path, data / "videos").problems[0].detail.split("`")[1].split()
    assert words[:3] == ["longtal", "annotations", "convert"]
    words = [str(path) if w == "FILE" else str(tmp_path / "new.json") if w == "NEW" else w for w in words[1:]]
    assert CliRunner().invoke(cli, words).exit_code == 0
    mended, right = read_annotations(tmp_path / "new.json"), read_annotations(data / "annotations.json")
    for name, video in right.videos.items():
        assert mended.videos[name].duration_s == pytest.approx(video.duration_s, rel=1e-5)
        for a, b in zip(mended.videos[name].segments, video.segments, strict=True):
            assert (a.start_s, a.end_s) == pytest.approx((b.start_s, b.end_s), rel=1e-5)
    assert check(tmp_path / "new.json", data / "videos").num_errors == 0
    refused = CliRunner().invoke(cli, [*words[:-1], "0"])
    assert refused.exit_code != 0 and "a number above 0" in str(refused.exception)


def test_init_names_it_and_writes_nothing_over(data: Path, tmp_path: Path) -> None:
    path = on_another_clock(data, 0.5, tmp_path / "a.json")
    project = init_project(InitOptions(data / "videos", path, tmp_path / "project", estimate=False))
    (note,) = [n for n in project.notes if "0.5 times the files'" in n]
    assert "half speed" in note
    assert "0.5 times the files'" in project.config.read_text()
    before, after = read_annotations(path), read_annotations(project.annotations)
    assert {k: v.duration_s for k, v in after.videos.items()} == pytest.approx(
        {k: v.duration_s for k, v in before.videos.items()}
    )


def test_damage_inside_a_file_is_found_by_decoding_it_and_else_said(data: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("v00", "v01"):
        (videos / f"{name}.mp4").write_bytes((data / "videos" / f"{name}.mp4").read_bytes())
    damaged = bytearray((videos / "v01.mp4").read_bytes())
    start = damaged.index(b"mdat") + len(damaged) // 3
    part = slice(start, start + len(damaged) // 4)
    damaged[part] = bytes(255 - byte for byte in damaged[part])
    (videos / "v01.mp4").write_bytes(bytes(damaged))
    quick = check(None, videos)
    assert NOT_DECODED in quick.notes
    whole = check(None, videos, decode=True)
    assert NOT_DECODED not in whole.notes
    assert [p.video for p in whole.problems if p.check == "undecodable"] == ["v01"]
