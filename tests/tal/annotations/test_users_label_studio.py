"""Label Studio: frames from 1 with both ends, rates of tasks, several annotators, addresses of files."""

import json
import math

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import cli
from tal.annotations import (
    AnnotationSet,
    Detection,
    Segment,
    VideoAnnotation,
    read_annotations,
    write_annotations,
)
from tal.annotations.formats.registry import PREDICTION_FILES
from tal.errors import AnnotationError


def timeline(first, last, *labels, **more):
    value = {"ranges": [{"start": first, "end": last}], "timelinelabels": list(labels or ["jump"])}
    return {"from_name": "t", "to_name": "video", "type": "timelinelabels", "value": value, **more}


def tasks(tmp_path, *entries):
    """A file of tasks; an entry is a task, or the results of one annotation of ``v.mp4`` at 10 a second."""
    content = [
        entry
        if isinstance(entry, dict)
        else {"data": {"video": "v.mp4", "framerate": 10}, "annotations": [{"result": entry}]}
        for entry in entries
    ]
    (tmp_path / "export.json").write_text(json.dumps(content))
    return tmp_path / "export.json"


def found(annotations):
    return {v.id: [(s.start_s, s.end_s, s.label) for s in v.segments] for v in annotations.videos.values()}


def test_frames_are_counted_from_1_and_both_ends_belong(tmp_path):
    annotations = read_annotations(tasks(tmp_path, [timeline(1, 1), timeline(3, 5, "run", "kick")]))
    assert annotations.format == "label_studio"
    assert found(annotations) == {"v": [(0.0, 0.1, "jump"), (0.2, 0.5, "run"), (0.2, 0.5, "kick")]}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([10.0, 24.0, 25.0, 30000 / 1001]), st.integers(1, 400), st.integers(0, 100))
def test_a_range_is_the_time_of_its_frames(tmp_path_factory, rate, first, more):
    """Plain version: the stretch in which a player of that rate shows one of the frames numbered from 1."""
    shown = [k for k in range(600) if first <= k + 1 <= first + more]
    data = {"video": "v.mp4", "framerate": rate}
    path = tasks(
        tmp_path_factory.mktemp("ls"),
        {"data": data, "annotations": [{"result": [timeline(first, first + more)]}]},
    )
    ((start_s, end_s, _),) = found(read_annotations(path))["v"]
    assert start_s == pytest.approx(shown[0] / rate) and end_s == pytest.approx((shown[-1] + 1) / rate)
    stamps = [k / rate for k in range(600)]
    del data["framerate"]
    path = tasks(path.parent, {"data": data, "annotations": [{"result": [timeline(first, first + more)]}]})
    by_stamps = found(read_annotations(path, time_stamps=lambda _: stamps))["v"]
    assert by_stamps == [(pytest.approx(start_s), pytest.approx(end_s), "jump")]


def test_frames_without_a_rate_need_time_stamps(tmp_path):
    task = {"data": {"video": "v.mp4"}, "annotations": [{"result": [timeline(2, 4)]}]}
    path = tasks(tmp_path, task)
    with pytest.raises(AnnotationError, match=r"task 1 \('v'\): its times are frames.*\"framerate\""):
        read_annotations(path)
    uneven = [0.0, 0.5, 0.6, 1.0]
    assert found(read_annotations(path, time_stamps={"v": uneven}.get)) == {"v": [(0.5, 1.4, "jump")]}
    with pytest.raises(AnnotationError, match="its times are frames"):
        read_annotations(path, time_stamps={"w": uneven}.get)
    with pytest.raises(AnnotationError, match="frames 2 to 4 of a video with 3 time stamps"):
        read_annotations(path, time_stamps={"v": uneven[:3]}.get)


def test_the_rate_of_the_timeline_may_be_given(tmp_path):
    tagless = {"data": {"video": "v.mp4"}, "annotations": [{"result": [timeline(2, 4)]}]}
    with_rate = {"data": {"video": "w.mp4", "framerate": 2}, "annotations": [{"result": [timeline(2, 4)]}]}
    path = tasks(tmp_path, tagless, with_rate)
    out = tmp_path / "out.json"
    words = ["annotations", "convert", str(path), "--out", str(out)]
    assert "convert --frame-rate" in str(CliRunner().invoke(cli, words).exception)
    result = CliRunner().invoke(cli, [*words, "--frame-rate", "10"])
    assert result.exit_code == 0, result.output
    # a task's own rate counts before the one that is given
    assert found(read_annotations(out)) == {"v": [(0.1, 0.4, "jump")], "w": [(0.5, 2.0, "jump")]}
    shown = CliRunner().invoke(cli, ["annotations", "show", str(path), "--frame-rate", "10"])
    assert shown.exit_code == 0, shown.output
    assert CliRunner().invoke(cli, [*words, "--frame-rate", "0"]).exit_code == 2
    for rate in (float("nan"), -1.0, float("inf")):
        with pytest.raises(AnnotationError, match="frames a second"):
            read_annotations(path, frame_rate=rate)
    stamps = read_annotations(path, time_stamps={"v": [0.0, 0.5, 0.6, 1.0]}.get, frame_rate=10)
    assert found(stamps)["v"] == [(0.5, 1.4, "jump")]


def test_labels_in_seconds_need_no_rate_and_other_results_are_counted(tmp_path):
    seconds = {"type": "labels", "value": {"start": 1.5, "end": 2.25, "labels": ["run"]}}
    box = {"type": "videorectangle", "value": {"labels": ["cow"], "sequence": [], "framesCount": 9}}
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    path = tasks(
        tmp_path,
        {"data": {"video": "v.mp4"}, "annotations": [{"result": [seconds, box, choice]}], "predictions": []},
    )
    annotations = read_annotations(path)
    assert found(annotations) == {"v": [(1.5, 2.25, "run")]}
    assert annotations.account.left == {"results that are not of time (boxes, choices, text)": 2}


def test_one_annotation_of_a_task_counts(tmp_path):
    def task(*versions, **more):
        return {"data": {"video": "v.mp4", "fps": 10}, "annotations": list(versions), **more}

    first, second = (
        {"result": [timeline(1, 10, "a")]},
        {"result": [timeline(1, 10, "b"), timeline(2, 3, "b")]},
    )
    skipped = {"result": [timeline(1, 10, "c")], "was_cancelled": True}
    annotations = read_annotations(tasks(tmp_path, task(first, second, skipped)))
    assert found(annotations) == {"v": [(0, 1, "b"), (0.1, 0.3, "b")]}
    assert annotations.account.left == {"annotations of a task that has others": 1}
    judged = read_annotations(tasks(tmp_path, task({**first, "ground_truth": True}, second)))
    assert found(judged) == {"v": [(0, 1, "a")]}


def test_predictions_are_no_annotations_where_anything_was_annotated(tmp_path):
    guess = {
        "data": {"video": "w.mp4", "fps": 10},
        "predictions": [{"result": [timeline(1, 10)], "score": 0.5}],
    }
    both = read_annotations(tasks(tmp_path, [timeline(1, 10)], guess))
    assert found(both) == {"v": [(0, 1, "jump")], "w": []}
    alone = read_annotations(tasks(tmp_path, guess))
    assert found(alone) == {"w": [(0, 1, "jump")]}
    assert alone.notes == ("1 tasks have predictions alone, taken as annotations: 'w'",)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"video": "/data/upload/3/0a1b2c3d-cow.mp4"}, "cow"),
        ({"video": "https://x.org/data/upload/3/0a1b2c3d-cow%20two.mp4"}, "cow two"),
        ({"video": "/data/local-files/?d=herd%2FP01/cow.mp4"}, "cow"),
        ({"video": "s3://bucket/herd/cow.v2.mp4"}, "cow.v2"),
        ({"video": "https://x.org/cow.mp4?X-Amz-Date=2024/01/01"}, "cow"),
        ({"title": "mine", "clip": "C:\\herd\\cow.avi"}, "cow"),
        ({"video": "https://x.org/../../etc/passwd"}, "passwd"),
        ({"video": "x/cow.mp4", "video_id": "P01/cow"}, "P01/cow"),
    ],
)
def test_videos_are_named_after_their_files(tmp_path, data, name):
    assert list(read_annotations(tasks(tmp_path, {"data": data, "annotations": []})).videos) == [name]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"data": {"fps": 10}, "annotations": []}, "name no video; the keys are fps"),
        ({"data": {"video": "v.mp4", "fps": 0}, "annotations": []}, "fps 0 is not a frame rate"),
        ([timeline(0, 3)], "counts frames from 1"),
        ([timeline(True, 3)], "counts frames from 1"),
        ([timeline(None, 3)], "counts frames from 1"),
        ([{"value": {"timelinelabels": ["a"], "ranges": {}}}], "'ranges' is"),
        (["jump"], "is not a result"),
        ([timeline(1, 3, 7)], "is a number, not a name"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path, task, message):
    with pytest.raises(AnnotationError, match=message) as error:
        read_annotations(tasks(tmp_path, task))
    assert "task 1" in str(error.value) or "'v'" in str(error.value)


spans = st.tuples(st.floats(0, 500), st.floats(0.1, 60))


@settings(max_examples=100, deadline=None)
@given(st.lists(spans, max_size=5), st.sampled_from([None, 10.0, 25.0, 30000 / 1001]))
def test_written_times_lie_within_half_a_frame(tmp_path_factory, stretches, fps):
    path = tmp_path_factory.mktemp("ls") / "tasks.json"
    segments = tuple(Segment(s, s + d, "a") for s, d in stretches)
    write_annotations(
        AnnotationSet({"x": VideoAnnotation("x", "test", segments, 600.0, fps)}, ("a",)), path, "label_studio"
    )
    (task,) = json.loads(path.read_text())
    rate = task["data"]["framerate"]
    assert rate == (fps or 100.0) and ("fps" in task["data"]) == (fps is not None)
    back = read_annotations(path, keep_duplicates=True).videos["x"]
    assert (back.fps, back.duration_s, back.subset) == (fps, 600.0, "test")
    for was, now in zip(segments, back.segments, strict=True):
        assert math.isclose(now.start_s, was.start_s, abs_tol=0.5001 / rate)
        assert math.isclose(now.end_s, was.end_s, abs_tol=0.5001 / rate)


def test_predictions_hold_scores_and_the_path_of_the_file(tmp_path):
    write = PREDICTION_FILES["label_studio"].write
    path, video = tmp_path / "p.json", tmp_path / "v" / "x.mp4"
    write(
        [Detection("x", 0.25, 1.0, "jump", 0.75), Detection("y", 0, 1, "run", 0.5)],
        {"w": video, "x": video},
        path,
    )
    content = json.loads(path.read_text())
    assert [task["data"]["video_id"] for task in content] == ["w", "x", "y"]
    assert content[1]["data"]["video"] == str(video) and "annotations" not in content[1]
    (prediction,) = content[1]["predictions"]
    assert prediction["result"][0]["value"]["ranges"] == [{"start": 26, "end": 100}]
    assert prediction["result"][0]["score"] == prediction["score"] == 0.75


def test_no_video_and_times_before_0_are_refused(tmp_path):
    early = AnnotationSet({"x": VideoAnnotation("x", "", (Segment(-1.0, 1.0, "a"),))}, ("a",))
    for bad, message in ((early, "no time before 0"), (AnnotationSet({}, ()), "there is none to write")):
        with pytest.raises(AnnotationError, match=message):
            write_annotations(bad, tmp_path / "t.json", "label_studio")
    assert list(tmp_path.iterdir()) == []
