"""JSON with a key twice, with a slip in a key, or of another tool; and other tools' files."""

import json

import pytest

from tal.annotations import read_annotations, read_predictions
from tal.annotations.manifest import read_blocked
from tal.annotations.rows import read_class_list
from tal.errors import AnnotationError
from tal.inference.video_scores import VideoScores

ACTION = {"label": "jump", "segment": [1, 2]}


def write(tmp_path, content, name="a.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# -- the same key twice --

VIDEO = '"v1": {"subset": "training", "annotations": [{"label": "%s", "segment": [1, 2]}]}'


def test_a_video_twice_is_an_error_that_names_it(tmp_path):
    path = write(tmp_path, '{"database": {' + VIDEO % "jump" + ", " + VIDEO % "kick" + "}}")
    with pytest.raises(AnnotationError, match=r"a\.json: 'v1' is there twice"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ('{"database": {"v": {"annotations": [], "annotations": []}}}', "annotations"),
        ('{"database": {"v": {"annotations": [{"label": "a", "label": "b", "segment": [1, 2]}]}}}', "label"),
        ('{"v": {"actions": []}, "v": {"actions": [[1, 2, 3]]}}', "v"),
    ],
)
def test_any_key_twice(tmp_path, content, key):
    with pytest.raises(AnnotationError, match=f"'{key}' is there twice"):
        read_annotations(write(tmp_path, content))


def test_a_key_twice_in_predictions_and_video_scores(tmp_path):
    result = '{"label": "a", "score": 1, "segment": [1, 2]}'
    with pytest.raises(AnnotationError, match="'v1' is there twice"):
        read_predictions(write(tmp_path, '{"results": {"v1": [' + result + '], "v1": []}}'))
    with pytest.raises(AnnotationError, match="'score' is there twice"):
        read_predictions(
            write(tmp_path, '{"results": {"v1": [' + result.replace("1,", '1, "score": 2,', 1) + "]}}")
        )
    with pytest.raises(AnnotationError, match="'v1' is there twice"):
        VideoScores.read(write(tmp_path, '{"results": {"v1": {"a": 1}, "v1": {"a": 0}}}'), ["a"])
    with pytest.raises(AnnotationError, match="video 'v1': label 'a' is there twice"):
        VideoScores.read(write(tmp_path, '{"v1": {"a": 1, "a ": 0}}'), ["a"])
    with pytest.raises(AnnotationError, match="label 'a' is there twice"):
        VideoScores.read(write(tmp_path, '{"class": ["a", "a"], "results": {"v1": [1, 0]}}'), ["a"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 jump\n2 kick\n1 wave\n", r"line 3: class '1' is 'jump' already, not 'wave'"),
        ("1 jump\n2 jump \n", r"line 2: classes '1' and '2' are both 'jump'"),
        ("id,key\n0,jump\n0,kick\n", r"line 3: class '0' is 'jump' already"),
    ],
)
def test_class_lists_that_say_two_things(tmp_path, text, message):
    name = "c.csv" if text.startswith("id") else "c.txt"
    with pytest.raises(AnnotationError, match=message):
        read_class_list(write(tmp_path, text, name))


def test_a_class_that_the_list_does_not_have(tmp_path):
    write(tmp_path, "1 jump\n", "class_list.txt")
    with pytest.raises(AnnotationError, match="'v': class '2' is not in the list of 1 classes"):
        read_annotations(write(tmp_path, {"v": {"actions": [[2, 0, 1]]}}))


# -- slips --


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"subset": "x", "annotation": [ACTION]},
            "'v1': has 'annotation' where 'annotations' should be; its keys",
        ),
        ({"subset": "x", "Annotations": [ACTION]}, "has 'Annotations' where 'annotations'"),
        ({"subset": "x", "anotations": [ACTION]}, "has 'anotations' where 'annotations'"),
        ({"subset": "x", "segments": [ACTION]}, "has 'segments' where 'annotations'"),
        ({"subset": "x", "actions2": [], "events": {"a": 1}}, "has 'events' where 'annotations'"),
        ({"Subset": "x", "annotations": []}, "has 'Subset' where 'subset' should be; its keys are 'Subset'"),
        ({"subset": "x", "duration_s": 3, "annotations": []}, "has 'duration_s' where 'duration'"),
        ({"subset": "x", "annotations": None}, "'annotations' is 'None', not a list"),
        (
            {"subset": "x", "annotations": [{"label": "a", "start": 1, "end": 2}]},
            "annotation 1 needs 'label' and 'segment': .*; it has the keys 'label', 'start', 'end'",
        ),
        (
            {"subset": "x", "annotations": [{"Label": "a", "segment": [1, 2]}]},
            "it has the keys 'Label', 'segment'",
        ),
        ({"subset": "x", "annotations": ["jump"]}, "it has 'jump'"),
    ],
)
def test_a_slip_in_a_key_is_refused_with_the_keys_that_are_there(tmp_path, entry, message):
    good = {"subset": "x", "duration": 9, "annotations": [ACTION]}
    with pytest.raises(AnnotationError, match=message):
        read_annotations(write(tmp_path, {"database": {"v0": good, "v1": entry}}))


def test_keys_that_are_no_slips(tmp_path):
    entry = {
        "subset": "x",
        "duration_second": 9,
        "duration_frame": 90,
        "rfps": 10,
        "labels": ["a"],
        "annotations": [],
    }
    assert read_annotations(write(tmp_path, {"database": {"v": entry}})).videos["v"].duration_s == 9.0
    lacking = {
        "v": {"subset": "test", "duration": 3, "labels": ["a"]},
        "w": {"subset": "x", "annotations": [ACTION]},
    }
    assert read_annotations(write(tmp_path, {"database": lacking})).notes == (
        "1 of 2 videos have no 'annotations': 'v'",
    )


# -- other tools --

PERCEPTION = {
    "video_0": {"metadata": {"split": "train"}, "action_localisation": [{"id": 0, "timestamps": [0, 9]}]}
}
EGO = {"version": "1", "videos": [{"video_uid": "u", "clips": []}]}
VIA = {"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}}


@pytest.mark.parametrize(
    ("content", "tool", "keys"),
    [
        (PERCEPTION, "Perception Test", "'video_0'.*'metadata', 'action_localisation'"),
        (
            [{"video": "v1.mov", "label": "jump", "start": 1.5, "end": "01:03"}],
            "Create ML",
            "'video', 'label'",
        ),
        (EGO, "Ego4D", "'version', 'videos'"),
        ([{"id": 1, "video": "a", "annotator": 1, "annotation_id": 3}], "Label Studio", "'annotator'"),
        ({"images": [], "annotations": [], "categories": []}, "COCO", "'images'"),
        ({"info": {}, "categories": {}, "items": []}, "Datumaro", "'items'"),
        ([{"version": 0, "tags": [], "shapes": [], "tracks": []}], "CVAT", "'tags'"),
        (VIA, "Export > Only Temporal Segments as CSV", "'project', 'config'"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VIA", "'_via_settings'"),
        ({"version": "1", "results": {"v": []}}, "predictions .*evaluate --predictions", "'results'"),
        ({"foo": 1, "bar": {"x": 2}}, "not ActivityNet JSON", "'foo', 'bar', and in 'bar': 'x'"),
        ({"v": {"foo": 1}}, "not ActivityNet JSON", "'foo'"),
        ([1, 2], "not ActivityNet JSON", "a list of 2"),
        (3, "not ActivityNet JSON", "a int"),
    ],
)
def test_json_of_another_tool_is_refused_with_its_keys(tmp_path, content, tool, keys):
    path = write(tmp_path, content)
    for file_format in ("auto", "activitynet"):
        with pytest.raises(AnnotationError, match=f"{tool}.*{keys}"):
            read_annotations(path, file_format)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.TextGrid", 'File type = "ooTextFile"', "Praat TextGrid; in ELAN choose File > Import"),
        ("a.xlsx", "PK", "File > Save as there, the kind 'CSV UTF-8'"),
        ("a.csv", "PK\x03\x04...", "a spreadsheet"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n", "subtitles; write a table"),
        ("a.pfsx", "<preferences/>", "has no annotations; give the .eaf file"),
        ("a.zip", "PK", "unpack it"),
        ("a.xml", "<annotations><version>1.1</version><track/></annotations>", "CVAT .*frame rate"),
        ("a.xml", "<ANNOTATION_DOCUMENT/>", "rename it to .eaf"),
        ("a.xml", "<x/>", "XML of a kind that is not read"),
        (
            "a.csv",
            "# Exported using VIA\n# CSV_HEADER = metadata_id,file_list\n",
            "Only Temporal Segments as CSV",
        ),
    ],
)
def test_files_of_other_tools_are_refused_with_the_way_from_there(tmp_path, name, content, message):
    with pytest.raises(AnnotationError, match=message):
        read_annotations(write(tmp_path, content, name))


def test_lists_to_leave_out_are_lists():
    with pytest.raises(AnnotationError, match="is not '3'"):
        read_blocked(3)
