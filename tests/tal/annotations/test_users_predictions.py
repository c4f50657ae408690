"""Predictions as evaluation codes and spreadsheets leave them, and files that are none."""

import json

import pytest

from tal.annotations import read_predictions
from tal.errors import AnnotationError


def read(tmp_path, content, name="p.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_predictions(path)


@pytest.mark.parametrize(
    "content",
    [
        "video_id,start_s,end_s,label,score\nv,1.5,2,jump,0.25\n",
        "video-id,t-start,t-end,label,score\nv,1.5,2,jump,0.25\n",
        "label,confidence,end,start,video,start_frame\njump,0.25,2,1.5,v,45\n",
        "Video;Start (s);End (s);Class;Score\nv;1,5;2;jump;0,25\n",
        "video,start_ms,end_ms,label,prob\nv,1500,2000,jump,0.25\n",
        # exact names win over others of the same meaning
        "start,end,video_id,start_s,end_s,label,score,class\n9,9,v,1.5,2,jump,0.25,7\n",
    ],
)
def test_usual_names_units_and_decimal_commas(tmp_path, content):
    (row,) = read(tmp_path, content).itertuples(index=False)
    assert tuple(row) == ("v", 1.5, 2.0, "jump", 0.25)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video,start,end,label\nv,1,2,a\n", r"lacks the columns \['score'\]"),
        ("start,end,label,score\n1,2,a,1\n", r"lacks the columns \['video'\]"),
        ("video,start,end,label,score,confidence\nv,1,2,a,1,1\n", "two columns can be 'score'"),
        ("video,start,t_start,begin,start,end,label,score\nv,1,1,1,1,2,a,1\n", "two columns can be 'start'"),
        ("video,start_frame,end_frame,label,score\nv,1,2,a,1\n", "'start_frame' counts frames"),
        ("video,start,end,label,score\n#NAME?,1,2,a,1\n", r"line 2: '#NAME\?' is a spreadsheet's error"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("eval_results.pkl", b"\x80\x04\x95", "pickles are not read as predictions: give ActivityNet's"),
        (
            "r.txt",
            "video_test_0000004 0.2 1.1 7 0.9\n",
            "lines of text .*THUMOS.* are not read as predictions",
        ),
        ("p.srt", "1\n00:00:01,000 --> 00:00:02,000\njump\n", "files of annotation tools are not read"),
        ("p.npz", b"PK", "arrays are not read as predictions"),
    ],
)
def test_files_of_other_kinds_are_told_by_name(tmp_path, name, content, message):
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path, content, name)


def result(**item):
    return json.dumps({"results": {"v": [{"score": 0.5, "segment": [1, 2]} | item]}})


def test_json_is_read_whatever_it_is_called(tmp_path):
    assert len(read(tmp_path, result(label="a"), "p.txt")) == 1


def test_labels_that_are_numbers_or_missing_say_what_to_write(tmp_path):
    with pytest.raises(
        AnnotationError, match="label: 3 is a number, not a name: write the name of the class"
    ):
        read(tmp_path, result(label=3), "p.json")
    with pytest.raises(AnnotationError, match="proposals get their label from a classifier"):
        read(tmp_path, result(), "p.json")
