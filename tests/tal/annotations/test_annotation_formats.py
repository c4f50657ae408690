"""Every format: real files, hand-written ones, and round trips."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import AnnotationSet, Segment, VideoAnnotation, read_annotations, write_annotations
from tal.annotations.read import FORMATS, detect_format, merge
from tal.errors import AnnotationError

PLACES = {"activitynet": "a.json", "hacs": "a.json", "thumos14": "folder", "multithumos": "m.json"}
PLACES |= {"epic100": "EPIC_100_validation.csv", "charades": "c.csv", "table": "t.csv", "csv": "t.csv"}
PLACES |= {"tsv": "t.tsv", "elan": "e.txt", "boris": "b.tsv"}
# Formats that keep milliseconds only; the others keep every digit.
MILLISECONDS = {"epic100", "elan", "boris"}

names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8).filter(
    lambda s: not s.startswith("-")
)
times = st.floats(0, 1000, allow_nan=False).map(lambda x: round(x, 6))


@st.composite
def annotation_sets(draw):
    labels = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.lower))
    videos = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        segments = []
        for label in draw(st.lists(st.sampled_from(labels), min_size=1, max_size=4)):
            start = draw(times)
            segments.append(Segment(start, start + draw(st.floats(0.01, 100)), label))
        duration = draw(st.none() | st.floats(1, 2000).map(lambda x: round(x, 3)))
        videos[name] = VideoAnnotation(name, "validation", tuple(segments), duration_s=duration)
    return AnnotationSet(videos, tuple(sorted(labels)))


def as_rows(annotations):
    return {
        name: sorted((s.label, s.start_s, s.end_s) for s in video.counted)
        for name, video in annotations.videos.items()
    }


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=25, deadline=None)
@given(annotations=annotation_sets())
def test_round_trips_lose_nothing_within_their_precision(tmp_path_factory, name, annotations):
    path = tmp_path_factory.mktemp(name) / PLACES[name]
    write_annotations(annotations, path, name)
    found = read_annotations(path, name, keep_duplicates=True, ignore_labels=(), target="verb")
    before, after = as_rows(annotations), as_rows(found)
    assert after.keys() == before.keys()
    tolerance = 0.5001e-3 if name in MILLISECONDS else 0.0
    for video, rows in before.items():
        for mine, theirs in zip(rows, after[video], strict=True):
            if tolerance:
                continue
            assert theirs == mine
        if tolerance:  # rounding may swap neighbours: compare as a multiset by label
            left = list(after[video])
            for label, start, end in rows:
                near = [
                    r
                    for r in left
                    if r[0] == label and abs(r[1] - start) <= tolerance and abs(r[2] - end) <= tolerance
                ]
                assert near
                left.remove(near[0])
    if name in ("activitynet", "table", "multithumos", "charades", "thumos14", "boris"):
        durations = {n: v.duration_s for n, v in annotations.videos.items()}
        assert {n: v.duration_s for n, v in found.videos.items()} == durations


@pytest.mark.parametrize("name", ["activitynet", "table", "tsv", "multithumos", "charades"])
def test_formats_that_keep_subsets_and_empty_videos(tmp_path, name):
    kept = AnnotationSet(
        {
            "x": VideoAnnotation("x", "training", (Segment(1.0, 2.0, "a b"),), 5.0),
            "y": VideoAnnotation("y", "test", (), 7.5),
        },
        ("a b",),
    )
    write_annotations(kept, tmp_path / PLACES[name], name)
    found = read_annotations(tmp_path / PLACES[name])
    assert {n: (v.subset, v.segments, v.duration_s) for n, v in found.videos.items()} == {
        n: (v.subset, v.segments, v.duration_s) for n, v in kept.videos.items()
    }


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"hacs", "csv", "tsv"}))
def test_formats_are_told_from_their_content(tmp_path, name):
    one = AnnotationSet({"x": VideoAnnotation("x", "validation", (Segment(1.0, 2.0, "a"),), 5.0)}, ("a",))
    write_annotations(one, tmp_path / PLACES[name], name)
    assert detect_format(tmp_path / PLACES[name]) == name


def test_thumos_real(shared):
    found = read_annotations(shared("data/annotations/thumos14_txt"))
    assert found.subsets == {"test": 213, "validation": 200}
    assert len(found.labels) == 20
    test = found.subset("test")
    assert test.num_instances == 3358  # ActionFormer's count
    assert sum(bool(v.segments) for v in test.videos.values()) == 212
    opentad = test.without(["video_test_0000270", "video_test_0001292"], "blocked")
    assert len(opentad) == 211  # OpenTAD's videos
    assert found.subset("validation").num_instances == 3007
    assert found.videos["video_test_0000278"].duration_s == 215.273


def test_multithumos_real(shared):
    found = read_annotations(shared("data/annotations/multithumos.json"))
    assert found.format == "multithumos"
    assert (len(found), found.num_instances, len(found.labels)) == (413, 38690, 65)
    assert sum(len(v.degenerate) for v in found.videos.values()) == 7


def test_epic_real(shared):
    path = shared("data/annotations/EPIC_100_validation.csv")
    verbs = read_annotations(path, target="verb")
    assert verbs.subsets == {"validation": 138}
    assert verbs.num_instances == 9668
    assert verbs.videos["P01_11"].segments[1] == Segment(1.56, 2.45, "put")  # narrated "put-down"
    assert "take plate" in read_annotations(path).labels
    with pytest.raises(AnnotationError, match="verb, noun, action"):
        read_annotations(path, target="verbs")


def test_epic_without_class_lists_calls_a_class_by_its_commonest_word(tmp_path):
    head = "video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
    rows = [("take", 0), ("take", 0), ("get", 0), ("take", 7)]
    body = "".join(f"P01_1,00:00:0{i}.0,00:01:00.5,{v},{c},cup,1\n" for i, (v, c) in enumerate(rows))
    (tmp_path / "EPIC_100_train.csv").write_text(head + body)
    found = read_annotations(tmp_path / "EPIC_100_train.csv", target="verb")
    assert found.labels == ("take#0", "take#7")
    assert found.subsets == {"train": 1}
    assert found.videos["P01_1"].segments[0].end_s == 60.5


def test_hacs_and_activitynet_ids(tmp_path):
    (tmp_path / "h.json").write_text(
        '{"version": "v1.1.1", "database": {"abc": {"subset": "training", "duration": 20.5, "url": "u",'
        ' "annotations": [{"label": "Archery", "segment": ["1.0", "2.5"]}]}}}'
    )
    assert read_annotations(tmp_path / "h.json", "hacs").videos["abc"].segments == (
        Segment(1, 2.5, "Archery"),
    )


def test_charades_names_its_classes(tmp_path):
    path = tmp_path / "Charades_v1_test.csv"
    path.write_text(
        'id,subject,script,actions,length\nAB12,X,"a, b",c092 11.90 21.20;c147 0.00 12.60,30.5\nCD34,Y,,,12\n'
    )
    assert read_annotations(path).labels == ("c092", "c147")
    (tmp_path / "Charades_v1_classes.txt").write_text("c092 Tidying up\nc147 Standing up\nc000 Nothing yet\n")
    found = read_annotations(path)
    assert found.labels == ("Tidying up", "Standing up", "Nothing yet")
    assert found.subsets == {"test": 2}
    assert found.videos["CD34"].segments == ()


def test_plain_tables_by_many_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("filename;t_start;t_end;Action\nx;1;2;run\n")
    assert read_annotations(path, subset="mine").subsets == {"mine": 1}
    path.write_text("\ufeffVideo,Start,End,Label\nx,0:01,1:02:03.5,run\n")
    assert read_annotations(path).videos["x"].segments == (Segment(1.0, 3723.5, "run"),)
    path.write_text("video,start,end,label\nx,1,soon,run\n")
    with pytest.raises(AnnotationError, match=r"t\.csv, line 2: 'soon'"):
        read_annotations(path)
    path.write_text("video,start,end,label\nx,1,,run\n")
    with pytest.raises(AnnotationError, match="line 2"):
        read_annotations(path)


def test_elan_with_headers(tmp_path):
    path = tmp_path / "session 1.txt"
    path.write_text(
        "Tier\tParticipant\tBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\t"
        "End Time - ss.msec\tDuration - hh:mm:ss.ms\tDuration - ss.msec\tAnnotation\n"
        "gesture\tA\t00:00:01.500\t1.5\t00:01:02.250\t62.25\t00:01:00.750\t60.75\twave\n"
        "gesture\tA\t00:00:01.500\t1.5\t00:00:02.000\t2.0\t00:00:00.500\t0.5\t\n"
    )
    segments = read_annotations(path).videos["session 1"].segments
    assert segments == (Segment(1.5, 62.25, "wave"), Segment(1.5, 2.0, "gesture"))


def test_elan_without_headers_and_in_milliseconds(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("gesture\t\t00:00:01.500\t00:00:02.000\t00:00:00.500\twave\n")
    assert read_annotations(path).videos["v"].segments == (Segment(1.5, 2.0, "wave"),)
    path.write_text("gesture\tA\t1500\t2000\t500\twave\n")
    assert read_annotations(path).videos["v"].segments == (Segment(1.5, 2.0, "wave"),)
    path.write_text(
        "Tier\tBegin Time - msec\tEnd Time - msec\tAnnotation\tFile Path\nt\t100\t250\tx\tC:\\d\\cow.eaf\n"
    )
    assert read_annotations(path).videos["cow"].segments[0].end_s == pytest.approx(0.25)


def test_boris_aggregated(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text(
        "Observation id,Media file name,Total length,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
        "obs,media/cow.mp4,60,25,A,eat,STATE,1.5,4.25\nobs,media/cow.mp4,60,25,A,sneeze,POINT,2,2\n"
    )
    found = read_annotations(path)
    assert found.videos["cow"].segments == (Segment(1.5, 4.25, "eat"),)
    assert (found.videos["cow"].duration_s, found.videos["cow"].fps) == (60.0, 25.0)
    assert "1 point events" in found.notes[0]


def test_boris_events_with_lines_above_the_header(tmp_path):
    path = tmp_path / "b.tsv"
    top = "Observation id\tobs 1\n\nMedia file(s)\n\n"
    head = "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tComment\tStatus\n"
    cells = [("1.0", "A", "eat", "START"), ("1.5", "B", "eat", "START"), ("3.0", "A", "eat", "STOP")]
    rows = [f"{t}\tcow.mp4\t60\t25\t{who}\t{what}\t\t{status}\n" for t, who, what, status in cells]
    path.write_text(top + head + "".join(rows) + "4.0\tcow.mp4\t60\t25\tB\teat\t\tSTOP\n")
    assert read_annotations(path).videos["cow"].segments == (Segment(1, 3, "eat"), Segment(1.5, 4, "eat"))
    path.write_text(top + head + "".join(rows))
    with pytest.raises(AnnotationError, match="'eat' starts and never stops"):
        read_annotations(path)


def test_names_that_a_format_cannot_hold_are_refused(tmp_path):
    hostile = AnnotationSet(
        {"x": VideoAnnotation("x", "test", (Segment(0.0, 1.0, "../../a"),))}, ("../../a",)
    )
    with pytest.raises(AnnotationError, match="no file name"):
        write_annotations(hostile, tmp_path / "folder", "thumos14")
    assert not (tmp_path / "folder").exists()
    three = AnnotationSet({"x": VideoAnnotation("x", "test", (Segment(0.0, 1.0, "a b c"),))}, ("a b c",))
    with pytest.raises(AnnotationError, match="verb noun"):
        write_annotations(three, tmp_path / "e.csv", "epic100")


def test_unknown_files_and_formats(tmp_path):
    (tmp_path / "x.csv").write_text("some,thing\n1,2\n")
    with pytest.raises(AnnotationError, match="no format that is known"):
        read_annotations(tmp_path / "x.csv")
    with pytest.raises(AnnotationError, match="no annotation format 'nope'"):
        read_annotations(tmp_path / "x.csv", "nope")


def test_merge_refuses_a_video_twice():
    one = AnnotationSet({"x": VideoAnnotation("x", "test", (Segment(0.0, 1.0, "a"),))}, ("a",), source="one")
    two = AnnotationSet({"y": VideoAnnotation("y", "val", (Segment(0.0, 1.0, "b"),))}, ("b",), source="two")
    assert merge([one, two]).labels == ("a", "b")
    assert merge([one, two]).subsets == {"test": 1, "val": 1}
    with pytest.raises(AnnotationError, match="'x'"):
        merge([one, one])
