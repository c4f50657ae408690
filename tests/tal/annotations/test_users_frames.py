"""Labels of every frame and other text that is no list of actions: told by name, with Python that works."""

import re
from pathlib import Path

import pytest

from tal.annotations import Segment, read_annotations
from tal.errors import AnnotationError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "annotations.md"
POSES = ",".join(f"p{k}_x,p{k}_y,p{k}_p" for k in range(16))


def refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError) as raised:
        read_annotations(path)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mouse_labels.csv", ",background,walk,groom\n0,1,0,0\n1,0,1,0\n2,0,1,1\n"),
        ("binary.tsv", "time\tA,walk\tA,groom\n0.0\t0\t1\n0.1\t1\t1\n"),
        ("targets.csv", f",{POSES},Attack\n" + "".join(f"{k}{',2.5' * 48},{k % 2}\n" for k in range(4))),
        ("rgb-01-1.txt", "SIL\nSIL\npour_milk\npour_milk\nSIL\n"),
    ],
)
def test_labels_of_every_frame_are_told(tmp_path, name, content):
    assert "labels of every frame; write a table of their stretches" in refused(tmp_path, name, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "ls.csv",
            "annotation_id,annotator,id,lead_time,video\n1,1,1,2.3,a.mp4\n",
            "a short export of Label Studio",
        ),
        (
            "m.csv",
            "Marker Name\tIn\tOut\nx\t00:00:01:12\t00:00:02:00\n".encode("utf-16"),
            "markers of an editing",
        ),
        ("cut.edl", "TITLE: t\nFCM: NON-DROP FRAME\n", "markers of an editing program"),
        ("a.jsonl", '{"vid": "a"}\n{"vid": "b"}\n', "a JSON object on every line"),
    ],
)
def test_other_files_are_told(tmp_path, name, content, message):
    assert message in refused(tmp_path, name, content)


@pytest.mark.parametrize("content", ["a,b\n1,2\n3,4\n", "one\ntwo\nthree\n", "a b\na b\n", "0,1\n"])
def test_what_is_none_of_them_is_not_taken_for_one(tmp_path, content):
    assert "no format that is known" in refused(tmp_path, "t.csv", content)


def test_a_table_of_zeros_and_ones_is_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("video,start,end,label\nv,0,1,1\nw,0,1,0\n")
    assert read_annotations(tmp_path / "t.csv").videos["v"].segments == (Segment(0.0, 1.0, "1"),)


def test_the_lines_of_the_docs_give_the_stretches(tmp_path, monkeypatch):
    section = DOCS.read_text().split("### Labels of every frame")[1]
    lines = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    marks = {"background": "100010", "groom": "001001", "walk": "011001"}
    rows = [",".join([str(k), *(marks[name][k] for name in marks)]) for k in range(6)]
    (tmp_path / "mouse_labels.csv").write_text(",".join(["", *marks]) + "\n" + "\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, str(DOCS), "exec"), {})
    video = read_annotations("annotations.csv").videos["mouse"]
    assert video.segments == (
        Segment(2 / 30, 3 / 30, "groom"),
        Segment(5 / 30, 6 / 30, "groom"),
        Segment(1 / 30, 3 / 30, "walk"),
        Segment(5 / 30, 6 / 30, "walk"),
    )
