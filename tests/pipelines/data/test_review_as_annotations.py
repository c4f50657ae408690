"""`corrections.json` as the annotations of a run: what nobody looked at is neither action nor background."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.data.run_annotations import RunAnnotations, read_run_annotations, read_whole
from tal.annotations import Segment
from tal.annotations.corrections import Corrections, Judgement, Sample, VideoCorrections, write_corrections
from tal.annotations.spans import Span
from tal.errors import AnnotationError

LABELS = ("a", "b")


def video(
    name: str, subset: str, reviewed: tuple[Span, ...], *actions: Segment, rejected: tuple[Segment, ...] = ()
) -> VideoCorrections:
    return VideoCorrections(
        name,
        subset,
        20.0,
        None,
        tuple(Judgement(s, "added") for s in actions),
        tuple(Judgement(s) for s in rejected),
        reviewed,
    )


WHOLE = video("whole", "validation", ((0.0, 20.0),), Segment(2, 4, "a"))
PART = video("part", "training", ((0.0, 8.0),), Segment(1, 3, "a"), Segment(12, 14, "b"))
UNSEEN = VideoCorrections("unseen", "training", 20.0, sampled=(Sample(0.0, 10.0, 0.5),))


def write(path: Path, *videos: VideoCorrections, labels: tuple[str, ...] = LABELS) -> str:
    write_corrections(Corrections(labels, {v.id: v for v in videos}), path)
    return str(path)


def read(folder: Path, *videos: VideoCorrections, later: tuple[VideoCorrections, ...] = ()) -> RunAnnotations:
    data = {"annotations": write(folder / "review.json", *videos)}
    if later:
        data["corrections"] = write(folder / "later.json", *later)
    return read_run_annotations(DataConfig(**data))


def test_only_what_was_looked_at_is_known(tmp_path: Path) -> None:
    annotated = read(tmp_path, WHOLE, PART, UNSEEN)
    assert set(annotated.train.videos) == {"part"} and set(annotated.unknown) == {"whole", "part"}
    assert set(annotated.unknown["part"]) == {
        Segment(8, math.inf, "a"),
        Segment(8, 12, "b"),
        Segment(14, math.inf, "b"),
    }
    said = " ".join(annotated.notes)
    assert "'unseen'" in said and "0.5 minutes of 2 videos" in said and "held-out" not in said


def test_a_rejection_is_known_for_its_class_alone(tmp_path: Path) -> None:
    rejecting = video(
        "part", "training", ((0.0, 8.0),), PART.actions[0].segment, rejected=(Segment(9, 11, "b"),)
    )
    stretches = read(tmp_path, WHOLE, rejecting).unknown["part"]
    assert set(stretches) == {Segment(8, math.inf, "a"), Segment(8, 9, "b"), Segment(11, math.inf, "b")}


def test_a_held_out_video_that_was_seen_in_part_is_told(tmp_path: Path) -> None:
    held_out = video("part", "validation", ((0.0, 8.0),), Segment(1, 3, "a"))
    notes = read(tmp_path, video("whole", "training", ((0.0, 20.0),), Segment(2, 4, "a")), held_out).notes
    assert any("1 of 1 held-out videos were not looked at in full ('part')" in note for note in notes)


def test_without_a_stretch_that_was_looked_at_nothing_says_where_no_action_is(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"m for a whole video.*annotations convert"):
        read(tmp_path, video("one", "training", (), Segment(1, 2, "a")), UNSEEN)


def test_a_video_that_stands_as_it_did_stays_held_out(tmp_path: Path) -> None:
    more = video("part", "training", ((0.0, 20.0),), Segment(1, 3, "a"))
    new = video("new", "", ((5.0, 9.0),), Segment(6, 7, "b"))
    annotated = read(tmp_path, WHOLE, PART, later=(WHOLE, more, new))
    assert annotated.validation is not None and set(annotated.validation.videos) == {"whole"}
    assert annotated.train.videos["part"].segments == (Segment(1, 3, "a"),), "what was deleted stays away"
    assert "part" in annotated.unknown and {s.start_s for s in annotated.unknown["part"]} == {20.0}
    assert Segment(0, 5, "a") in annotated.unknown["new"]
    assert any(note.startswith("2 videos corrected") for note in annotated.notes)


def test_when_every_held_out_video_was_corrected_nothing_is_left_to_measure(tmp_path: Path) -> None:
    other = video("whole", "validation", ((0.0, 20.0),), Segment(2, 5, "a"))
    with pytest.raises(AnnotationError, match=r"every video of 'validation' was corrected.*data.val_subset="):
        read(tmp_path, WHOLE, PART, later=(other,))
    data = DataConfig(
        annotations=str(tmp_path / "review.json"), corrections=str(tmp_path / "later.json"), val_subset=""
    )
    assert set(read_run_annotations(data).train.videos) == {"whole", "part"}


@pytest.mark.parametrize("later", [(UNSEEN,), (WHOLE, PART, UNSEEN)], ids=["nothing", "nothing new"])
def test_corrections_that_say_nothing_are_refused(
    tmp_path: Path, later: tuple[VideoCorrections, ...]
) -> None:
    with pytest.raises(AnnotationError, match="says nothing of any video"):
        read(tmp_path, WHOLE, PART, later=later)


def test_an_extraction_leaves_out_what_nobody_looked_at(tmp_path: Path) -> None:
    whole, notes = read_whole(DataConfig(annotations=write(tmp_path / "review.json", WHOLE, PART, UNSEEN)))
    assert set(whole.videos) == {"whole", "part"} and any("left out" in note for note in notes)


def test_a_class_that_is_new_is_unknown_where_the_review_was_before_it(tmp_path: Path) -> None:
    new = video("new", "", ((0.0, 20.0),), Segment(6, 7, "c"))
    review = write(tmp_path / "review.json", WHOLE, PART)
    later = write(tmp_path / "later.json", WHOLE, PART, new, labels=("c", *LABELS))
    annotated = read_run_annotations(DataConfig(annotations=review, corrections=later))
    assert annotated.whole.labels == ("a", "b", "c")
    assert Segment(0, math.inf, "c") in annotated.unknown["part"]
    assert Segment(8, math.inf, "a") in annotated.unknown["part"], "what was unknown before still is"
    assert json.loads(Path(review).read_text())["version"].startswith("longtal corrections")
