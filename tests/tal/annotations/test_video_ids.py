"""Ids of video files, and which ids of two sources mean the same video."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featstore.videos import check_id
from tal.annotations import VideoFolder, prediction_frame
from tal.annotations.ids import align_ids, match_ids
from tal.annotations.videos import safe_id
from tal.errors import VideoError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


# -- ids of files --


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["a.mp4", "P01/P01_11.MP4", "P01/x/b.Mp4"], ["P01/P01_11", "P01/x/b", "a"]),
        (["p1/a.mp4", "p2/a.mp4", "p2/a.avi"], ["p1/a", "p2/a.avi", "p2/a.mp4"]),
        (["a.mp4", "a.avi", "a.mkv", "a.MKV"], ["a.MKV", "a.avi", "a.mkv", "a.mp4"]),
        (["a.mp4", "a.avi", "a.mp4.mkv"], ["a.avi", "a.mp4", "a.mp4.mkv"]),
        (["a.b.mp4", "v_1.5.webm"], ["a.b", "v_1.5"]),
        (["a.mp4", ".a.mp4", "._b.mp4", "notes.txt", "mp4", "x/.c.mkv"], ["a"]),
        (["we ird\n.mp4", "a\\b.mp4", "C:x.mp4", "Z:/y.mp4"],
         ["C\ufffdx", "Z\ufffd/y", "a\ufffdb", "we ird\ufffd"]),
    ],
)  # fmt: skip
def test_an_id_is_the_path_below_the_folder_without_suffix(tmp_path, files, ids):
    found = VideoFolder(make(tmp_path, *files)).files
    assert sorted(found) == ids
    for name in found:
        check_id(name)


def test_names_that_would_be_one_id_are_refused_and_both_named(tmp_path):
    with pytest.raises(VideoError, match=r"a\\x07\.mp4', 'a\\x08\.mp4"):
        VideoFolder(make(tmp_path, "a\x07.mp4", "a\x08.mp4"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(alphabet="aC:\\\n\x7fé. \udcff", min_size=1, max_size=200), min_size=1, max_size=3))
def test_every_path_gets_an_id_that_a_store_takes(parts):
    parts = [p for p in parts if p.strip(".") and len(safe_id(p).encode()) <= 255]
    if parts:
        check_id(safe_id("/".join(parts)))


def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path / "disk", "P01/a.mp4")
    videos = make(tmp_path / "videos", "b.mp4")
    (videos / "P01").symlink_to(tmp_path / "disk" / "P01")
    (videos / "linked.mp4").symlink_to(tmp_path / "disk" / "P01" / "a.mp4")
    (videos / "circle").symlink_to(videos)
    (videos / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    assert sorted(VideoFolder(videos).files) == ["P01/a", "b", "linked"]


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, said, monkeypatch):
    make(tmp_path, "a.mp4", "closed/b.mp4")
    real = os.scandir

    def scandir(folder):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(VideoFolder(tmp_path).files) == ["a"]
    assert [line for line in said if "closed" in line and "Permission denied" in line]
    with pytest.raises(VideoError, match="closed cannot be listed: Permission denied"):
        VideoFolder(tmp_path / "closed")


# -- ids of two sources --


@pytest.mark.parametrize(
    ("ids", "known", "pairs"),
    [
        (["P01/a"], ["P01/a", "a"], {"P01/a": "P01/a"}),
        (["a.MP4", "b", "c.avi"], ["a", "b.mkv", "c.AVI"], {"a.MP4": "a", "b": "b.mkv", "c.avi": "c.AVI"}),
        (["v_a", "b", "P/c"], ["a", "v_b.mp4", "P/v_c"], {"v_a": "a", "b": "v_b.mp4", "P/c": "P/v_c"}),
        (["a", "P/b"], ["P/a", "b"], {"a": "P/a", "P/b": "b"}),
        (["v_a.mp4"], ["P/a"], {"v_a.mp4": "P/a"}),
        # nearest first
        (["a"], ["a.mp4", "v_a", "P/a"], {"a": "a.mp4"}),
        (["a", "v_a"], ["a"], {"a": "a"}),
        (["a", "P/a"], ["P/a"], {"P/a": "P/a"}),
        # other folders, other suffixes, other names
        (["P/a", "b.mp4", "V_c"], ["Q/a", "b.avi", "c"], {}),
        (["x/P/a"], ["P/a"], {}),
    ],
)
def test_ids_mean_the_same_video(ids, known, pairs):
    matches = match_ids(ids, known)
    assert matches.pairs == pairs and not matches.unclear


@pytest.mark.parametrize(
    ("ids", "known", "names"),
    [
        (["a"], ["P/a", "Q/a"], ["'a' could be 'P/a', 'Q/a'"]),
        (["a"], ["P/a", "Q/a.mp4"], ["'P/a', 'Q/a.mp4'"]),
        (["a", "P/a"], ["P/a", "Q/a"], ["'a' could be 'P/a', 'Q/a'"]),  # not what is left over
        (["a"], ["a.mp4", "a.avi"], ["'a.mp4', 'a.avi'"]),
        (["P/a", "Q/a"], ["a"], ["'P/a' could be 'a', and so could 'Q/a'", "and so could 'P/a'"]),
    ],
)
def test_what_could_be_several_is_not_matched_and_said(ids, known, names):
    matches = match_ids(ids, known)
    unclear = set(ids) - set(matches.pairs)
    assert unclear == set(matches.unclear) and all(ours == theirs for ours, theirs in matches.pairs.items())
    (note,) = matches.refused("id")
    assert f"{len(unclear)} id" in note and all(name in note for name in names)


_IDS = st.lists(
    st.builds(
        lambda folder, prefix, core, suffix: f"{folder}{prefix}{core}{suffix}",
        st.sampled_from(["", "P/", "Q/"]),
        st.sampled_from(["", "v_"]),
        st.sampled_from("ab"),
        st.sampled_from(["", ".mp4", ".MP4", ".avi"]),
    ),
    max_size=8,
    unique=True,
)


@settings(max_examples=500, deadline=None)
@given(_IDS, _IDS, st.randoms())
def test_pairs_are_one_to_one_and_the_same_from_either_side_in_any_order(ids, known, random):
    pairs = match_ids(ids, known).pairs
    assert len(set(pairs.values())) == len(pairs)
    assert match_ids(known, ids).pairs == {theirs: ours for ours, theirs in pairs.items()}
    assert all(pairs[i] == i for i in set(ids) & set(known))
    random.shuffle(ids)
    random.shuffle(known)
    assert match_ids(ids, known).pairs == pairs


def test_notes_count_and_name_what_was_bent():
    matches = match_ids(["v_a", "v_b", "P/c", "d.mp4", "same", "v_e"], ["a", "b", "c", "d", "same", "Q/e"])
    assert matches.bent("annotated id") == [
        "2 annotated ids matched with 'v_' taken off: 'v_a' as 'a', 'v_b' as 'b'",
        "1 annotated id matched with the folder taken off: 'P/c' as 'c'",
        "1 annotated id matched with the suffix taken off: 'd.mp4' as 'd'",
        "1 annotated id matched with the folder put on and 'v_' taken off: 'v_e' as 'Q/e'",
    ]
    assert match_ids(["same"], ["same"]).notes("id") == []


def test_tens_of_thousands_of_ids_of_one_last_part_take_no_time():
    import time

    many = [f"{i:05d}/camera" for i in range(20_000)]
    begun = time.perf_counter()
    assert len(match_ids(many, many).pairs) == len(many)
    assert len(match_ids(many, ["camera"]).unclear) == len(many)
    assert len(match_ids(["camera"], many).unclear) == 1
    assert time.perf_counter() - begun < 10  # a second; minutes where all are compared with all


def test_predictions_take_the_annotations_ids_also_those_without_a_detection():
    frame = prediction_frame(["P01/a", "b", "b"], [0, 0, 0], [1, 1, 1], ["x"] * 3, [1, 1, 1])
    frame.attrs["videos"] = ["P01/a", "b", "P01/c", "d"]
    aligned, notes = align_ids(frame, ["a", "c", "Q/b", "R/b"])
    assert aligned["video_id"].tolist() == ["a", "b", "b"]
    assert aligned.attrs["videos"] == ["a", "b", "c", "d"]
    assert len(notes) == 2 and "2 prediction ids matched with the folder taken off" in notes[0]
    assert "'b' could be 'Q/b', 'R/b'" in notes[1]
