"""Every format by itself: real files and hand-written ones."""

import pytest

from tal.annotations import (
    AnnotationSet,
    Detection,
    Segment,
    VideoAnnotation,
    read_annotations,
    write_annotations,
)
from tal.annotations.formats.registry import PREDICTION_FILES
from tal.annotations.read import merge
from tal.errors import AnnotationError

ONE = AnnotationSet({"x": VideoAnnotation("x", "test", (Segment(0.0, 1.0, "a"),))}, ("a",))


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


def test_boris_names_a_video_by_observation_where_that_is_the_end_of_the_path(tmp_path):
    head = "Observation id\tMedia file\tBehavior\tStart (s)\tStop (s)\n"
    cases = [
        ("P01/a", "/data/P01/a.mp4", "P01/a"),
        ("P01/a", "C:\\d\\P01\\a.avi", "P01/a"),
        ("", "d/cow.mp4", "cow"),
    ]
    cases += [
        ("monday", "d/cow.mp4", "cow"),
        ("ow", "d/cow.mp4", "cow"),
        ("v.1", "", "v.1"),
        ("v.1", "v.1.mp4", "v.1"),
    ]
    for observation, media, video in cases:
        path = tmp_path / "b.tsv"
        path.write_text(f"{head}{observation}\t{media}\teat\t1\t2\n")
        assert list(read_annotations(path).videos) == [video]


def test_boris_tables_of_annotations_and_detections_have_the_same_columns(tmp_path):
    write_annotations(ONE, tmp_path / "a.tsv", "boris")
    PREDICTION_FILES["boris"].write([Detection("x", 0.0, 1.0, "a", 0.5)], {}, tmp_path / "p.tsv")
    header, row = (tmp_path / "a.tsv").read_text().splitlines()
    header_of_detections, detection = (tmp_path / "p.tsv").read_text().splitlines()
    assert header == header_of_detections
    assert detection == row.removesuffix("\t\t") + "\tscore=0.5\t"


def test_a_plain_table_with_behaviours_is_not_taken_for_boris(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Video,Start,Stop,Behavior\nx,1,2,eat\n")
    assert read_annotations(path).format == "table"


def test_the_header_says_what_separates_the_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('video,start,end,label\nx,1,2,"a\tb; c; d"\n')
    assert read_annotations(path).videos["x"].segments == (Segment(1.0, 2.0, "a\tb; c; d"),)
    path.write_text("video;start;end;label\nx;1;2;run, jump\n")
    assert read_annotations(path).videos["x"].segments == (Segment(1.0, 2.0, "run, jump"),)


def slot(number, more=""):
    return f'<TIME_SLOT TIME_SLOT_ID="t{number}"{more}/>'


SLOTS = slot(1, ' TIME_VALUE="1500"') + slot(2, ' TIME_VALUE="2250"')


def eaf(tiers, slots=SLOTS):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ANNOTATION_DOCUMENT FORMAT="3.0"><HEADER TIME_UNITS="milliseconds"/>'
        f"<TIME_ORDER>{slots}</TIME_ORDER>{tiers}</ANNOTATION_DOCUMENT>"
    )


def aligned(value):
    return (
        '<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2">'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


def test_eaf_labels_are_values_or_tiers_and_scores_are_cut_off_in_our_tiers_alone(tmp_path):
    path = tmp_path / "cow.eaf"
    tiers = [("eat", "any", ""), ("t", "any", " graze "), ("t2", "any", "zone 0.500")]
    tiers += [("jump", "prediction", "jump 0.873"), ("run", "prediction", "limp")]
    texts = [
        f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="{kind}">{aligned(value)}</TIER>'
        for name, kind, value in tiers
    ]
    path.write_text(eaf("".join(texts)))
    segments = read_annotations(path).videos["cow"].segments
    assert segments == tuple(Segment(1.5, 2.25, n) for n in ("eat", "graze", "zone 0.500", "jump", "limp"))


def test_eaf_annotations_without_times_are_counted(tmp_path):
    path = tmp_path / "cow.eaf"
    reference = (
        '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a2" ANNOTATION_REF="a1">'
        "<ANNOTATION_VALUE>left</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )
    slots = slot(1, ' TIME_VALUE="1500"') + slot(2)
    path.write_text(eaf(f'<TIER TIER_ID="t">{aligned("x")}{reference}</TIER>', slots))
    annotations = read_annotations(path)
    assert annotations.videos["cow"].segments == ()
    assert annotations.notes == ("2 annotations left out: 2 annotations without a time",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><ANNOTATION_DOCUMENT/>', "declares types or entities"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><ANNOTATION_DOCUMENT/>', "declares types or entities"),
        ("<a>" * 100_000, "not XML"),
        ("<a>" * 50_000 + "</a>" * 50_000, "its root is 'a'"),
        ("<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>", "not XML"),
        ('<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="PAL-frames"/></ANNOTATION_DOCUMENT>', "PAL-frames"),
        (eaf(f'<TIER TIER_ID="">{aligned("")}</TIER>'), "'' is not a name"),
        (eaf(f"<TIER>{aligned('')}</TIER>"), "is not a name"),
        (eaf(f"<TIER>{aligned('x')}</TIER>").replace("1500", "soon"), "'soon'"),
    ],
)
def test_eaf_files_that_are_not_read(tmp_path, content, message):
    path = tmp_path / "cow.eaf"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(path)
    assert "cow.eaf" in str(caught.value)


def test_eaf_is_named_after_its_video(tmp_path):
    write_annotations(ONE, tmp_path / "x.eaf", "eaf")
    assert read_annotations(tmp_path / "x.eaf").videos["x"].segments == ONE.videos["x"].segments
    with pytest.raises(AnnotationError, match="named after its one video, 'x'"):
        write_annotations(ONE, tmp_path / "other.eaf", "eaf")
    early = AnnotationSet({"x": VideoAnnotation("x", "test", (Segment(-1.0, 1.0, "a"),))}, ("a",))
    with pytest.raises(AnnotationError, match="before 0"):
        write_annotations(early, tmp_path / "folder", "eaf")
    assert [p.name for p in tmp_path.iterdir()] == ["x.eaf"]


def test_a_class_list_that_other_files_need_is_not_replaced(tmp_path):
    for name, file in (("multithumos", "m.json"), ("charades", "c.csv")):
        folder = tmp_path / name
        write_annotations(ONE, folder / f"1{file}", name)
        write_annotations(ONE, folder / f"2{file}", name)
        other = AnnotationSet({"x": VideoAnnotation("x", "test", (Segment(0.0, 1.0, "b"),))}, ("b",))
        with pytest.raises(AnnotationError, match="lists other classes"):
            write_annotations(other, folder / f"3{file}", name)
        assert read_annotations(folder / f"1{file}", name).labels == ("a",)
        assert not (folder / f"3{file}").exists()


def test_epic_verbs_without_a_noun_stay_verbs(tmp_path):
    labels = ("put", "put cup", "take")
    segments = tuple(Segment(i, i + 1.0, label) for i, label in enumerate(labels))
    write_annotations(
        AnnotationSet({"x": VideoAnnotation("x", "", segments)}, labels), tmp_path / "e.csv", "epic100"
    )
    assert read_annotations(tmp_path / "e.csv").videos["x"].segments == segments
    assert read_annotations(tmp_path / "e.csv", target="verb").labels == ("put", "take")


def test_names_that_a_format_cannot_hold_are_refused(tmp_path):
    hostile = AnnotationSet(
        {"x": VideoAnnotation("x", "test", (Segment(0.0, 1.0, "../../a"),))}, ("../../a",)
    )
    with pytest.raises(AnnotationError, match="cannot name a file"):
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
