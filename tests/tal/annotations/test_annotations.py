"""The annotation set: subsets, duplicates, exclusions, ids, and files that are not what they should be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal.annotations import Segment, find_video, read_annotations, write_annotations
from tal.annotations.ids import align_ids, match_ids
from tal.annotations.manifest import manifest, read_blocked
from tal.annotations.predictions import prediction_frame
from tal.annotations.types import drop_duplicates, match_subset
from tal.errors import AnnotationError, EvaluationError


def video(*segments, subset="test", **more):
    return {
        "subset": subset,
        "annotations": [{"label": name, "segment": [a, b]} for name, a, b in segments],
        **more,
    }


def write(path, database, **top):
    path.write_text(json.dumps({"database": database, **top}))
    return path


def test_reads_the_official_form_and_its_variants(tmp_path):
    path = write(
        tmp_path / "a.json",
        {
            "x": video(("run", "1.5", 2), duration="10", fps=25, frame=250, url="https://example.org/x"),
            "y": {"subset": "validation", "annotations": []},
        },
        version="VERSION 1.3",
        taxonomy=[
            {"nodeName": "Root", "parentName": None},
            {"nodeName": "swim", "parentName": "Root"},
            {"nodeName": "run", "parentName": "Root"},
        ],
    )
    found = read_annotations(path)
    assert found.labels == ("swim", "run")  # the taxonomy's order, and its names without an instance
    x = found.videos["x"]
    assert x.segments == (Segment(1.5, 2.0, "run"),)
    assert (x.duration_s, x.fps, x.num_frames, x.url) == (10.0, 25.0, 250, "https://example.org/x")
    assert found.subsets == {"test": 1, "validation": 1}
    assert found.videos["y"].duration_s is None


def test_reads_the_flat_form(tmp_path):
    path = tmp_path / "flat.json"
    path.write_text(json.dumps({"v_x": {"duration_second": 8.0, "duration_frame": 200, "annotations": []}}))
    assert read_annotations(path).videos["v_x"].num_frames == 200


def test_duplicates_go_by_the_usual_rule():
    a = Segment(1.0, 2.0, "run")
    near, far, other = Segment(1.0005, 2.0005, "run"), Segment(1.0, 2.01, "run"), Segment(1.0, 2.0, "jump")
    assert drop_duplicates([a, near, far, other]) == ([a, far, other], [near])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from("ab")), max_size=12))
def test_duplicates_equal_the_plain_rule(rows):
    segments = [Segment(5 + a * 0.00049, 9 + b * 0.00049, label) for a, b, label in rows]
    kept = []
    for s in segments:
        if not any(
            abs(s.start_s - o.start_s) <= 1e-3 and abs(s.end_s - o.end_s) <= 1e-3 and s.label == o.label
            for o in kept
        ):
            kept.append(s)
    assert drop_duplicates(segments)[0] == kept


def test_duplicates_are_removed_reported_and_kept_on_demand(tmp_path):
    path = write(tmp_path / "a.json", {"x": video(("run", 1, 2), ("run", 1, 2))})
    found = read_annotations(path)
    assert found.num_instances == 1
    assert "1 duplicate annotations removed: 'x'" in found.notes[0]
    assert manifest(found)["excluded"] == [
        {"video": "x", "reason": "duplicate within 1e-3 s", "segment": [1.0, 2.0], "label": "run"}
    ]
    assert read_annotations(path, keep_duplicates=True).num_instances == 2


def test_segments_without_length_are_counted_but_not_trained_on(tmp_path):
    path = write(tmp_path / "a.json", {"x": video(("run", 2, 2), ("run", 3, 1), ("run", 1, 2))})
    x = read_annotations(path).videos["x"]
    assert x.segments == (Segment(1.0, 2.0, "run"),)
    assert len(x.degenerate) == 2 and len(x.counted) == 3
    left = read_annotations(path).without_degenerate()
    assert left.num_instances == 1
    assert [e.reason for e in left.excluded] == ["no length", "no length"]


def test_ambiguous_stretches_are_set_aside(tmp_path):
    path = write(tmp_path / "a.json", {"x": video(("run", 1, 2), ("Ambiguous", 3, 4))})
    found = read_annotations(path)
    assert found.labels == ("run",)
    assert found.videos["x"].ignored == (Segment(3.0, 4.0, "Ambiguous"),)
    assert read_annotations(path, ignore_labels=()).labels == ("Ambiguous", "run")


def test_subsets_by_name_then_case_then_alias():
    assert match_subset("test", ["test", "Testing"]) == ["test"]
    assert match_subset("TEST", ["test"]) == ["test"]
    assert match_subset("val", ["training", "validation"]) == ["validation"]
    assert match_subset("testing", ["Test"]) == ["Test"]
    # THUMOS14 trains on "validation": it is never taken for "training"
    assert match_subset("training", ["validation", "test"]) == []


def test_unknown_subset_is_an_error_that_lists_the_known(tmp_path):
    found = read_annotations(write(tmp_path / "a.json", {"x": video(("run", 1, 2))}))
    with pytest.raises(EvaluationError, match=r"no subset 'trainnig'; it has 'test' \(1 videos\)"):
        found.subset("trainnig")
    assert "subset 'TEST' taken as 'test'" in found.subset("TEST").notes


def test_labels_stay_the_same_in_every_subset(tmp_path):
    found = read_annotations(
        write(tmp_path / "a.json", {"x": video(("b", 1, 2)), "y": video(("a", 1, 2), subset="training")})
    )
    assert found.subset("test").labels == found.subset("training").labels == ("a", "b")
    assert set(found.subset(["test", "training"]).videos) == {"x", "y"}


def test_blocked_videos_are_left_out_and_listed(tmp_path):
    found = read_annotations(write(tmp_path / "a.json", {"x": video(("a", 1, 2)), "y": video(("a", 1, 2))}))
    left = found.without(["y", "z"], "blocked")
    assert set(left.videos) == {"x"}
    assert manifest(left)["excluded"] == [{"video": "y", "reason": "blocked"}]
    assert "1 of 2 ids" in left.notes[-1]


def test_blocked_lists():
    assert read_blocked(["a", "b"]) == read_blocked({"a": 0, "b": 0}) == ["a", "b"]
    assert read_blocked("a CricketShot\n# comment\nb # no\n\n") == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not ActivityNet JSON"),
        ('{"database": []}', "not ActivityNet JSON"),
        ('{"database": {"x": 3}}', "not ActivityNet JSON"),
        ('{"database": {"x": {"annotations": [{"label": "a"}]}}}', "'x'.*'segment'"),
        ('{"database": {"x": {"annotations": [{"label": "a", "segment": [1]}]}}}', "'x'.*'segment'"),
        ('{"database": {"x": {"annotations": [{"label": "a", "segment": [1, "soon"]}]}}}', "'x'.*'soon'"),
        ('{"database": {"x": {"annotations": [{"label": "a", "segment": [1, NaN]}]}}}', "'x'.*finite"),
        (
            '{"database": {"x": {"annotations": [{"label": 3, "segment": [1, 2]}]}}}',
            "'x'.*3 is a number, not a name",
        ),
        ('{"database": {"x": {"duration": "long", "annotations": []}}}', "'x'.*duration.*'long'"),
        ('{"database": {"": {"annotations": []}}}', "a video: '' is not a name"),
        ('{"database": {"\\ud800": {"annotations": []}}}', "not valid Unicode"),
        ('{"database": {"x": {"duration": 1e999, "annotations": []}}}', "'x'.*finite"),
        ('{"database": {"x": {"duration": 1' + "0" * 400 + ', "annotations": []}}}', "'x'.*not a time"),
        ('{"database": {"x": {"duration": 1' + "0" * 5000 + "}}}", "not JSON"),
        ("[" * 100_000, "nested"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=message):
        read_annotations(path)


def test_missing_file_folder_and_bytes(tmp_path):
    with pytest.raises(AnnotationError, match="no such file"):
        read_annotations(tmp_path / "none.json")
    with pytest.raises(AnnotationError, match="folder"):
        read_annotations(tmp_path)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match="UTF-8"):
        read_annotations(tmp_path / "b.json")


def test_written_files_have_the_official_keys_and_lose_nothing(tmp_path):
    path = write(
        tmp_path / "a.json",
        {"x": video(("run", 0.1, 1 / 3), ("Ambiguous", 3, 4), ("run", 5, 5), duration=10.01, fps=29.97)},
    )
    first = read_annotations(path)
    write_annotations(first, tmp_path / "b.json")
    content = json.loads((tmp_path / "b.json").read_text())
    assert {"version", "taxonomy", "database"} <= set(content)
    second = read_annotations(tmp_path / "b.json")
    assert second.videos == first.videos and second.labels == first.labels


def test_ids_match_with_and_without_the_prefix():
    assert match_ids(["v_a", "b", "c"], ["a", "v_b", "c"]).pairs == {"v_a": "a", "b": "v_b", "c": "c"}
    assert match_ids(["v_a", "a"], ["a"]).pairs == {"a": "a"}  # both spellings predicted: they are two videos
    frame = prediction_frame(["v_a", "c"], [0, 0], [1, 1], ["x", "x"], [1, 1])
    aligned, notes = align_ids(frame, {"a", "c"})
    assert aligned["video_id"].tolist() == ["a", "c"]
    assert "'v_' taken off: 'v_a'" in notes[0]


def test_a_table_of_videos_may_write_their_ids_otherwise(tmp_path):
    (tmp_path / "t.csv").write_text("video,start,end,label\na,0,1,x\nP/b,0,1,x\nc,0,1,x\nd,0,1,x\n")
    (tmp_path / "i.csv").write_text("video,duration\nP/a.mp4,5\nv_b,6\nP/c,7\nQ/c,8\n")
    found = read_annotations(tmp_path / "t.csv", info=tmp_path / "i.csv")
    assert [v.duration_s for v in found.videos.values()] == [5.0, 6.0, None, None]
    notes = " | ".join(found.notes)
    assert "1 annotated id matched with the folder put on and the suffix put on: 'a' as 'P/a.mp4'" in notes
    assert "'c' could be 'P/c', 'Q/c'" in notes and "does not have 2 of 4 videos" in notes


def test_find_video_takes_suffixes_prefixes_and_sub_folders(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "v_b.MKV", "sub/c.webm", "d.avi"):
        (tmp_path / name).touch()
    assert find_video(tmp_path, "a").name == "a.mp4"
    assert find_video(tmp_path, "v_a").name == "a.mp4"
    assert find_video(tmp_path, "b").name == "v_b.MKV"
    assert find_video(tmp_path, "sub/c").name == "c.webm"
    assert find_video(tmp_path, "d.avi").name == "d.avi"
    assert find_video(tmp_path, "e") is None
    assert find_video(tmp_path / "nowhere", "a") is None


@pytest.mark.parametrize(
    "hostile",
    ["", ".", "..", "../out", "a/../../out", "/etc/out", "\0", "out\0", "x" * 300, "a" * 4000, "..\\out",
     "C:out",
     "sub//../../out", "./out", "\ud800", "v_../out", "~/out", "sub/" + "y" * 256, "\n"],
)  # fmt: skip
def test_find_video_never_leaves_its_folder(tmp_path, hostile):
    videos = tmp_path / "videos"
    (videos / "sub").mkdir(parents=True)
    (tmp_path / "out.mp4").touch()
    assert find_video(videos, hostile) is None


def test_real_activitynet(shared):
    path = shared("data/annotations/anet_anno_action.json")
    found = read_annotations(path, info=shared("data/annotations/video_info_new.csv"))
    assert found.format == "activitynet"
    assert found.subsets == {"training": 9649, "validation": 4728, "testing": 4851}
    assert len(found.labels) == 200
    assert sum(e.reason.startswith("duplicate") for e in found.excluded) == 50
