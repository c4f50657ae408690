"""V-TRACE's CSV, compared with what Python's dictionary reader finds beside lines that begin with a #."""

import csv
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cli import cli
from tal.annotations import (
    AnnotationSet,
    Detection,
    Segment,
    VideoAnnotation,
    read_annotations,
    write_annotations,
)
from tal.annotations.corrections import (
    Corrections,
    Judgement,
    Sample,
    VideoCorrections,
    read_corrections,
    write_corrections,
)
from tal.annotations.formats.registry import PREDICTION_FILES
from tal.errors import AnnotationError

HEAD = "# trace-meta: behaviors=groom:g,rear:r\nlabelId,  timestamp, endTimestamp,score,source,review\n"


def found(annotations):
    return {v.id: [(s.start_s, s.end_s, s.label) for s in v.segments] for v in annotations.videos.values()}


def rows_of(path):
    """What V-TRACE's documentation says of the file, read by Python's csv."""
    lines = (line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#"))
    return [
        (r["labelId"], float(r["timestamp"]), float(r["endTimestamp"]), r.get("score"))
        for r in csv.DictReader(lines)
    ]


def test_a_reviewed_file(tmp_path):
    path = tmp_path / "cow.pred.csv"
    path.write_text(
        HEAD
        + "groom,12.430,18.970,0.9,model,accepted\nrear,42.1,45.65,0.5,model,Rejected\nrear,50,51,,manual,\n"
    )
    annotations = read_annotations(path, subset="mine")
    assert annotations.format == "vtrace"
    assert found(annotations) == {"cow": [(12.43, 18.97, "groom"), (50, 51, "rear")]}
    assert annotations.account.left == {"rejected detections": 1}
    assert annotations.subsets == {"mine": 1}
    path.write_text(HEAD + "groom,12.430,soon,0.9,model,\n")
    with pytest.raises(AnnotationError, match=r"cow\.pred\.csv, line 3: 'soon'"):
        read_annotations(path)


def test_annotations_count_before_predictions_of_one_video(tmp_path):
    for name, label in (("a.csv", "x"), ("a.pred.csv", "y"), ("P1/b.pred.csv", "z"), ("._a.csv", "q")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"labelId,timestamp,endTimestamp\n{label},1,2\n")
    annotations = read_annotations(tmp_path)
    assert found(annotations) == {"a": [(1, 2, "x")], "P1/b": [(1, 2, "z")]}
    assert "1 files of predictions are not read, since annotations lie beside them: 'a'" in annotations.notes
    (tmp_path / "c.csv").write_text("video,start,end,label\na,1,2,x\n")
    with pytest.raises(AnnotationError, match=r"c\.csv: lacks the columns"):
        read_annotations(tmp_path)
    with pytest.raises(AnnotationError, match=r"no \.csv files"):
        read_annotations((tmp_path / "empty").mkdir() or tmp_path / "empty", "vtrace")


def test_what_is_written_is_what_vtrace_reads(tmp_path):
    labels = ["#1", "groom", "run, fast", 'q"uo']
    segments = tuple(Segment(i / 3, i / 3 + 1, label) for i, label in enumerate(labels))
    write_annotations(
        AnnotationSet({"v": VideoAnnotation("v", "", segments)}, ()), tmp_path / "v.csv", "vtrace"
    )
    assert (tmp_path / "v.csv").read_text().startswith("labelId,timestamp,endTimestamp\n")
    assert rows_of(tmp_path / "v.csv") == [(s.label, s.start_s, s.end_s, None) for s in segments]
    detections = [Detection("P1/v", s.start_s, s.end_s, s.label, 0.25) for s in segments]
    path = tmp_path / "P1_v-1234.pred.csv"
    PREDICTION_FILES["vtrace"].write(detections, {"P1/v": tmp_path / "v.mp4"}, path)
    assert rows_of(path) == [(s.label, s.start_s, s.end_s, "0.25") for s in segments]
    assert list(read_annotations(path).videos) == ["P1/v"]
    path.write_text(path.read_text().replace('"P1/v"', "P1"))
    with pytest.raises(AnnotationError, match="is not a video's id"):
        read_annotations(path)


def test_what_the_files_cannot_hold_is_refused(tmp_path):
    def one(video="v", label="a"):
        return AnnotationSet({video: VideoAnnotation(video, "", (Segment(0.0, 1.0, label),))}, (label,))

    for bad, message in (
        (one("v.pred"), "no file can be named"),
        (one(label="a\n#b"), "on one line"),
        (AnnotationSet({}, ()), "there is none to write"),
    ):
        with pytest.raises(AnnotationError, match=message):
            write_annotations(bad, tmp_path / "out", "vtrace")
    with pytest.raises(AnnotationError, match="named after its one video, 'v'"):
        write_annotations(one(), tmp_path / "w.csv", "vtrace")
    assert list(tmp_path.iterdir()) == []


def test_verdicts_become_corrections(tmp_path):
    rows = [
        "groom,1,2,0.9,model,accepted",
        "groom,3,4,0.8,corrected,accepted",
        "rear,5,6,0.5,model,Rejected",
        "rear,7,8,0.4,model,",
        "dig,9,10,,manual,",
        "dig,11,11,,manual,",
    ]
    (tmp_path / "cow.pred.csv").write_text(HEAD + "\n".join(rows) + "\n")
    out = tmp_path / "corrections.json"
    words = [
        "annotations",
        "convert",
        str(tmp_path / "cow.pred.csv"),
        "--to",
        "corrections",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(cli, [*words, "--subset", "training", "--json"])
    assert result.exit_code == 0, result.output
    said = "3 actions and 1 rejections keep what was said of them; 2 that nobody judged, or without length,"
    assert any(said in note for note in json.loads(result.stdout)["notes"])
    video = read_corrections(out).videos["cow"]
    assert video.subset == "training" and video.reviewed == ()
    assert [(j.segment.start_s, j.source, j.score) for j in video.actions] == [
        (1, "accepted", 0.9),
        (3, "corrected", 0.8),
        (9, "added", None),
    ]
    assert [(j.segment, j.score) for j in video.rejected] == [(Segment(5, 6, "rear"), 0.5)]


def test_corrections_are_passed_on_whole(tmp_path):
    judged = VideoCorrections(
        "v",
        "old",
        9.0,
        actions=(Judgement(Segment(1, 2, "a"), "corrected", 0.5, "now", Segment(1, 3, "a")),),
        rejected=(Judgement(Segment(4, 5, "b"), "", 0.25),),
        reviewed=((0.0, 6.0),),
        sampled=(Sample(0, 3, 0.5),),
    )
    source, out = tmp_path / "corrections.json", tmp_path / "new.json"
    write_corrections(Corrections(("a", "b"), {"v": judged}), source)
    words = ["annotations", "convert", str(source), "--to", "corrections", "--out", str(out)]
    result = CliRunner().invoke(cli, [*words, "--rename-subset", "old=new"])
    assert result.exit_code == 0, result.output
    assert read_corrections(out) == Corrections(("a", "b"), {"v": replace(judged, subset="new")})
    # on another clock no stretch is what it was
    result = CliRunner().invoke(cli, [*words, "--scale-times", "2"])
    assert result.exit_code == 0, result.output
    scaled = read_corrections(out).videos["v"]
    assert [(a.segment.end_s, a.source) for a in scaled.actions] == [(4, "added")] and not scaled.reviewed
