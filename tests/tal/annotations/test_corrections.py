"""``corrections.json``: what is written comes back, and a plain reader gets true actions alone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal.annotations import AnnotationSet, Segment, VideoAnnotation, read_annotations, write_annotations
from tal.annotations.corrections import (
    SOURCES,
    VERSION,
    Corrections,
    Judgement,
    Sample,
    VideoCorrections,
    corrections_json,
    parse_corrections,
    read_corrections,
    write_corrections,
)
from tal.annotations.spans import union
from tal.errors import AnnotationError

LABELS = ("jump", "run", "Sitz <b>", "springen ä")
TIMES = st.floats(0, 1e4, allow_nan=False)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    start, end = draw(TIMES), draw(TIMES)
    return Segment(min(start, end), max(start, end) + 0.25, draw(st.sampled_from(LABELS)))


@st.composite
def judgements(draw: st.DrawFn, true: bool) -> Judgement:
    return Judgement(
        draw(segments()),
        draw(st.sampled_from(SOURCES)) if true else "",
        draw(st.none() | st.floats(0, 1)),
        draw(st.sampled_from(["", "2026-01-02T03:04:05+00:00"])),
        draw(st.none() | segments()),
    )


SPANS = st.tuples(TIMES, st.floats(0.25, 100)).map(lambda p: (p[0], p[0] + p[1]))


@st.composite
def videos(draw: st.DrawFn, name: str) -> VideoCorrections:
    return VideoCorrections(
        name,
        draw(st.sampled_from(["", "training"])),
        draw(st.none() | st.floats(0.5, 1e5)),
        draw(st.none() | st.floats(1, 240)),
        tuple(draw(st.lists(judgements(True), max_size=4))),
        tuple(draw(st.lists(judgements(False), max_size=4))),
        union(draw(st.lists(SPANS, max_size=6))),
        tuple(Sample(*span, 0.5) for span in draw(st.lists(SPANS, max_size=3))),
    )


@given(first=videos("a"), second=videos("P 1/b"))
def test_what_is_written_comes_back(first: VideoCorrections, second: VideoCorrections) -> None:
    corrections = Corrections(LABELS, {"a": first, "P 1/b": second})
    text = json.dumps(corrections_json(corrections))
    assert parse_corrections(json.loads(text), "x") == corrections


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_a_union_holds_the_same_time(spans: list[tuple[int, int]]) -> None:
    merged = union([(float(a), float(b)) for a, b in spans])
    covered = {t for a, b in spans for t in range(a, b)}  # cells [t, t + 1)
    assert {t for a, b in merged for t in range(int(a), int(b))} == covered
    assert all(a[1] < b[0] for a, b in pairwise(merged))


def test_a_plain_reader_gets_true_actions_alone(tmp_path: Path) -> None:
    path = tmp_path / "corrections.json"
    video = VideoCorrections(
        "a",
        actions=(Judgement(Segment(1, 2, "run"), "accepted", 0.5),),
        rejected=(Judgement(Segment(3, 4, "jump"), "", 0.9),),
        reviewed=((0.0, 5.0),),
    )
    write_corrections(Corrections(("jump", "run"), {"a": video}), path)
    plain = read_annotations(path)
    assert plain.videos["a"].segments == (Segment(1, 2, "run"),)
    assert plain.labels == ("jump", "run")
    assert read_corrections(path).annotations().videos["a"].segments == plain.videos["a"].segments


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"annotations": {}}, "'annotations' is '{}', not a list"),
        ({"annotations": [{"label": "a", "segment": [2, 1]}]}, "does not end after its start"),
        ({"annotations": [{"label": "a", "segment": [0, 1], "source": "me"}]}, "source 'me' is none of"),
        ({"annotations": [{"label": "", "segment": [0, 1]}]}, "label"),
        ({"rejected": [{"label": "a", "segment": [0, "x"]}]}, "rejected"),
        ({"rejected": ["a"]}, "is not an object"),
        ({"reviewed": [[-1, 2]]}, "begins before 0"),
        ({"reviewed": [[0, float("inf")]]}, "reviewed"),
        ({"sampled": [{"segment": [0, 1], "probability": 0}]}, "lies above 0"),
        ({"sampled": [{"segment": [0, 1], "probability": True}]}, "is not a number"),
    ],
)
def test_what_makes_no_sense_is_named(entry: object, message: str) -> None:
    with pytest.raises(AnnotationError, match="v1") as error:
        parse_corrections({"version": VERSION, "database": {"v1": entry}}, "c.json")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"database": {}}, "longtal review"),
        ({"version": "longtal corrections 2", "database": {}}, "update longtal"),
        ({"version": VERSION, "database": []}, "'database' must be an object"),
    ],
)
def test_other_files_are_refused(content: object, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        parse_corrections(content, "c.json")


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800"])
def test_ids_are_checked_as_other_readers_check_them(name: str) -> None:
    with pytest.raises(AnnotationError):
        parse_corrections({"version": VERSION, "database": {name: {}}}, "c.json")


def test_convert_takes_true_actions_and_counts_what_was_rejected(tmp_path: Path) -> None:
    jump, run = Segment(1, 2, "jump"), Segment(3, 4, "run")
    video = VideoCorrections(
        "a",
        "test",
        9.0,
        25.0,
        (Judgement(jump, "corrected", 0.5, original=run),),
        (Judgement(run, score=0.9),),
        ((0, 5),),
    )
    write_corrections(Corrections(("run", "jump"), {"a": video}), tmp_path / "c.json")
    found = read_annotations(tmp_path / "c.json")
    assert (found.format, found.labels) == ("corrections", ("run", "jump"))
    assert found.videos["a"].segments == (jump,)
    assert (found.account.taken, found.account.left) == (1, {"rejected detections": 1})
    assert read_annotations(tmp_path / "c.json", "activitynet").videos == found.videos
    write_annotations(found, tmp_path / "d.json", "corrections")
    back = read_corrections(tmp_path / "d.json")
    assert back.videos["a"].actions == (Judgement(jump, "added"),)
    assert (back.videos["a"].reviewed, back.videos["a"].rejected, back.labels) == ((), (), ("run", "jump"))


def test_corrections_hold_no_time_before_0(tmp_path: Path) -> None:
    early = AnnotationSet({"a": VideoAnnotation("a", "", (Segment(-1, 1, "x"),))}, ("x",))
    with pytest.raises(AnnotationError, match="no time before 0"):
        write_annotations(early, tmp_path / "c.json", "corrections")
    assert list(tmp_path.iterdir()) == []
