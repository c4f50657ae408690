"""Labels are cleaned by every reader, and every reader accounts for what it took and left."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal.annotations import (
    AnnotationSet,
    Segment,
    VideoAnnotation,
    prediction_frame,
    read_annotations,
    read_predictions,
    write_annotations,
    write_predictions,
)
from tal.annotations.account import Account
from tal.annotations.builder import Builder
from tal.annotations.formats import registry
from tal.annotations.labels import alike, clean_label
from tal.annotations.manifest import manifest
from tal.annotations.options import ReadOptions
from tal.annotations.read import merge
from tal.errors import AnnotationError

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("text", "clean"),
    [(" jump", "jump"), ("jump\n", "jump"), ("\u00a0jump\u3000", "jump"), ("\u200bjump\ufeff ", "jump"),
     ("jump  high", "jump  high"), (DECOMPOSED, COMPOSED), ("Jump", "Jump"), (" \u200b ", "")],
)  # fmt: skip
def test_clean_labels(text, clean):
    assert clean_label(text) == clean


@given(st.text())
def test_cleaning_twice_changes_nothing(text):
    assert clean_label(clean_label(text)) == clean_label(text)


def test_labels_that_people_take_for_one():
    assert alike(["jump", "Jump", "ju mp", "kick", "JUMP_"]) == [["jump", "Jump", "ju mp", "JUMP_"]]
    assert alike(["+", "-", "a-b", "ab", "1-1", "11"]) == []


# Where a format's file has to be called so; others go by their suffix.
PLACES = {"boris": "b.tsv", "charades": "c.csv", "eaf": "v.eaf", "elan": "v.txt", "epic100": "e.csv"}
PLACES |= {
    "multithumos": "m.json",
    "thumos14": "folder",
    "label_studio": "l.json",
    "vtrace": "v.csv",
    "corrections": "r.json",
}


def place(name):
    return PLACES.get(name) or f"a{registry.find_format(name).suffixes[0]}"


def raw(tmp_path, name, label):
    """A file of a format in which a label is written as it is; the path to read."""
    path = tmp_path / place(name)
    one = VideoAnnotation("v", "validation", (Segment(1.0, 2.0, "LABEL"),))
    write_annotations(AnnotationSet({"v": one}, ("LABEL",)), path, name)
    for file in [f for f in tmp_path.rglob("*") if f.is_file()]:
        file.write_text(file.read_text().replace("LABEL", label))
        file.rename(file.with_name(file.name.replace("LABEL", label)))
    return path


@pytest.mark.parametrize("name", sorted({f.name for f in registry.BY_NAME.values()}))
@pytest.mark.parametrize("label", [" jump ", DECOMPOSED, "\u00a0jump"])
def test_every_reader_cleans_labels(tmp_path, name, label):
    annotations = read_annotations(raw(tmp_path, name, label), name)
    assert [s.label for s in annotations.videos["v"].segments] == [clean_label(label)]
    assert annotations.labels == (clean_label(label),)
    assert annotations.account == Account(1, {})


def test_what_cleaning_changed_is_said(tmp_path):
    annotations = read_annotations(raw(tmp_path, "activitynet", " jump "))
    assert annotations.notes[-1].startswith("1 labels with blanks around them")
    assert read_annotations(raw(tmp_path, "activitynet", "jump")).notes == ()


def test_a_label_of_blanks_alone_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="is not a name"):
        read_annotations(raw(tmp_path, "activitynet", " \u200b"))


@pytest.mark.parametrize("name", sorted({f.name for f in registry.BY_NAME.values()}))
def test_labels_that_would_be_read_otherwise_are_not_written(tmp_path, name):
    for label in (" jump", "jump\u200b", DECOMPOSED):
        one = AnnotationSet({"v": VideoAnnotation("v", "test", (Segment(0.0, 1.0, label),))}, (label,))
        with pytest.raises(AnnotationError, match="without blanks around them"):
            write_annotations(one, tmp_path / place(name), name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".json", ".csv", ".tsv"])
def test_labels_of_predictions_are_cleaned_and_then_one(tmp_path, suffix):
    labels = ["jump", " jump", "jump\u00a0", DECOMPOSED, COMPOSED]
    frame = prediction_frame(["v"] * 5, range(5), range(1, 6), labels, [0.5] * 5)
    write_predictions(frame, tmp_path / f"p{suffix}")
    back = read_predictions(tmp_path / f"p{suffix}")
    assert back["label"].tolist() == ["jump"] * 3 + [COMPOSED] * 2
    assert list(back["label"].cat.categories) == ["jump", COMPOSED]


# -- the account --


def test_reasons_of_what_was_left():
    account = Account(12, {"point events": 2}) + Account(3, {"point events": 1, "duplicates": 4})
    assert account == Account(15, {"point events": 3, "duplicates": 4})
    assert str(account) == "15 annotations taken, 7 left out: 3 point events, 4 duplicates"
    assert str(Account(1)) == "1 annotations taken, 0 left out"


def test_a_builder_counts_what_it_gives_and_what_it_is_told_of():
    build = Builder("f", ReadOptions())
    build.video("v")
    for start, end, label in ((0, 1, "a"), (0, 1, "a"), (2, 1, "a"), (3, 4, "Ambiguous")):
        build.segment("v", start, end, label)
    build.leave("point events", 2)
    annotations = build.build("table")
    assert annotations.account == Account(3, {"point events": 2, "duplicates": 1})
    assert annotations.notes[0] == "2 annotations left out: 2 point events"
    assert manifest(annotations)["account"] == {"taken": 3, "left": {"point events": 2, "duplicates": 1}}
    other = replace(annotations, videos={"w": replace(annotations.videos["v"], id="w")})
    assert merge([annotations, other]).account == Account(6, {"point events": 4, "duplicates": 2})


@pytest.mark.parametrize("name", sorted(registry.BY_NAME))
def test_every_reader_accounts_for_every_annotation_of_its_file(tmp_path, name):
    """Four that differ, one twice more, one ignored, and one without a length where that has a place."""
    empty = "segments without length" in registry.find_format(name).keeps
    segments = (
        Segment(1.0, 2.0, "a"),
        Segment(3.0, 4.0, "b"),
        Segment(3.0, 4.0, "b"),
        Segment(5.0, 6.0, "c"),
    )
    video = VideoAnnotation(
        "v",
        "validation",
        (*segments, segments[1]),
        degenerate=(Segment(7.0, 7.0, "a"),) * empty,
        ignored=(Segment(8.0, 9.0, "Ambiguous"),),
    )
    path = tmp_path / place(name)
    write_annotations(AnnotationSet({"v": video}, ("a", "b", "c")), path, name)
    annotations = read_annotations(path, name)
    assert annotations.account == Account(4 + empty, {"duplicates": 2})
    assert annotations.account.taken == len(annotations.videos["v"].all_segments)
    assert read_annotations(path, name, keep_duplicates=True).account == Account(6 + empty, {})
