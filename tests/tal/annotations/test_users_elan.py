"""ELAN's exports with their options on, and its documents with tiers that depend on others."""

import pytest

from tal.annotations import AnnotationSet, Segment, VideoAnnotation, read_annotations, write_annotations
from tal.errors import AnnotationError

ENGLISH = ("Begin Time", "End Time", "Duration")


def head(*units, names=ENGLISH):
    return [f"{name} - {unit}" for name in names for unit in units]


def read(tmp_path, lines, name="v.txt", separator="\t"):
    path = tmp_path / name
    path.write_text("\n".join(separator.join(cells) for cells in lines) + "\n")
    return read_annotations(path)


def found(annotations, video="v"):
    return [(s.start_s, s.end_s, s.label) for s in annotations.videos[video].segments]


def test_each_filled_tier_of_a_row_is_an_annotation(tmp_path):
    lines = [[*head("ss.msec"), "left_hand", "right_hand"], ["1.0", "3.0", "2.0", "reach", "grasp"]]
    annotations = read(
        tmp_path, [*lines, ["4.0", "5.0", "1.0", "", "grasp"], ["6.0", "7.0", "1.0", "", ""], []]
    )
    assert found(annotations) == [(1.0, 3.0, "reach"), (1.0, 3.0, "grasp"), (4.0, 5.0, "grasp")]
    assert annotations.account.left == {"rows without a value in any tier": 1}
    assert "1 annotations left out: 1 rows without a value" in annotations.notes[0]


def test_the_one_tier_of_an_export_is_the_label_of_annotations_without_a_value(tmp_path):
    assert found(read(tmp_path, [[*head("ss.msec"), "jump"], ["1.0", "2.0", "1.0", ""]])) == [
        (1.0, 2.0, "jump")
    ]


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        (head("hh:mm:ss.ms"), ["00:00:01.250", "00:00:03.500", "00:00:02.250"]),
        (head("msec"), ["1250", "3500", "2250"]),
        (
            head("hh:mm:ss.ms", "ss.msec", "msec", "PAL"),
            [
                *("00:00:01.250", "1.25", "1250", "00:00:01:06"),
                *("00:00:03.500", "3.5", "3500", "00:00:03:12"),
                *("00:00:02.250", "2.25", "2250", "00:00:02:06"),
            ],
        ),
        (head("ss.msec", names=("Begin Time", "Duration")), ["1.25", "2.25"]),
        (head("ss.msec", names=("End Time", "Duration")), ["3.5", "2.25"]),
        (head("ss.msec", "msec", names=("Temps de départ", "temps de fin", "Durée")),
         ["1.25", "1250", "3.5", "3500", "2.25", "2250"]),
    ],
)  # fmt: skip
def test_any_times_in_any_language_of_the_menus(tmp_path, columns, cells):
    assert found(read(tmp_path, [[*columns, "act"], [*cells, "reach"]])) == [(1.25, 3.5, "reach")]


@pytest.mark.parametrize(
    ("columns", "cells", "times"),
    [
        (head("PAL"), ["00:00:01:05", "00:01:03:00", "00:01:01:20"], (1.2, 63.0)),
        (["Begin Time - PAL-50"] * 3, ["00:00:01:25", "00:00:03:00", "00:00:01:25"], (1.5, 3.0)),
        (head("NTSC"), ["00:10:00:00", "00:11:00:02", "00:01:00:02"], (17982 / 29.97, 19782 / 29.97)),
    ],
)
def test_times_in_frames_alone(tmp_path, columns, cells, times):
    annotations = read(tmp_path, [[*columns, "act"], [*cells, "reach"]])
    ((start_s, end_s, _),) = found(annotations)
    assert (start_s, end_s) == pytest.approx(times)
    assert "times are counted in frames, exact to 0.0" in annotations.notes[0]


def test_columns_that_are_not_tiers(tmp_path):
    header = [*head("ss.msec"), "act", "Participant", "Description", "File Name", "File Path"]
    rows = [["1.0", "2.0", "1.0", "reach", "P1", "the hand goes out", "/d/a.eaf"],
            ["1.0", "2.0", "1.0", "grasp", "P1", "", "C:\\d\\b.eaf"]]  # fmt: skip
    annotations = read(tmp_path, [header, *rows])  # ELAN names both columns and fills one
    assert found(annotations, "a") == [(1.0, 2.0, "reach")]
    assert found(annotations, "b") == [(1.0, 2.0, "grasp")]


def test_lines_that_name_the_file_of_the_rows_below(tmp_path):
    header = [*head("ss.msec"), "act", "File Name", "File Path"]
    row = ["1.0", "2.0", "1.0", "reach"]
    for first, second in (("a.eaf", "/d/b.eaf"), ('"#a.eaf"', '"#/d/b.eaf"')):
        annotations = read(tmp_path, [header, [], [first], row, [], [second], row])
        assert (found(annotations, "a"), found(annotations, "b")) == ([(1.0, 2.0, "reach")],) * 2
        assert list(annotations.videos) == ["a", "b"]


def test_lines_about_the_media(tmp_path):
    lines = [
        ['"#file:///D:/x/cow.mp4 -- offset: 120"'],
        [*head("ss.msec"), "act"],
        ["1.0", "2.0", "1.0", "reach"],
    ]
    notes = " | ".join(read(tmp_path, lines).notes)
    assert "cow.mp4 has an offset of 120 ms" in notes and "the media are 'cow'" in notes
    lines[0] = ['"#file:///D:/x/v.mp4 -- offset: 0"']
    assert read(tmp_path, lines).notes == ()


def test_between_commas_and_semicolons(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text(
        '"Begin Time - ss.msec","End Time - ss.msec","left","right"\n1.0,2.0,"a, b","say ""hi"""\n'
    )
    assert found(read_annotations(path)) == [(1.0, 2.0, "a, b"), (1.0, 2.0, 'say "hi"')]
    path.write_text("Begin Time - ss.msec;End Time - ss.msec;left\n1,25;2,5;a\n")
    assert found(read_annotations(path)) == [(1.25, 2.5, "a")]
    path.write_text('"left","P1",00:00:01.000,1.0,00:00:03.000,3.0,"a, b"\n')
    assert found(read_annotations(path)) == [(1.0, 3.0, "a, b")]


WITHOUT = [
    (["act", "", "1.0", "1000", "3.0", "3000", "2.0", "2000", "reach"], "reach"),
    (["act", "", "1000", "3000", "2000", "4"], "4"),
    (["act", "1.0", "3.0", "reach"], "reach"),
    (["act", "1.0", "3.0", ""], "act"),
    (["act", "P1", "00:00:01.000", "00:00:01:00", "00:00:03.000", "00:00:03:00", "reach", "a hand"], "reach"),
    (["1.0", "3.0", "2.0", "reach"], "reach"),
    (["7", "1.0", "3.0", "2.0", "reach"], "reach"),
]


@pytest.mark.parametrize(("cells", "label"), WITHOUT)
def test_without_headers_the_cells_tell_what_they_are(tmp_path, cells, label):
    annotations = read(tmp_path, [cells])
    assert found(annotations) == [(1.0, 3.0, label)]
    assert "no line names the columns: read as ELAN's text of one video, 'v'" in annotations.notes[0]


def test_without_headers_and_with_columns_of_files(tmp_path):
    lines = [["act", "", "1.0", "3.0", "2.0", "reach", "a.eaf", "/d/a.eaf"],
             ["act", "", "1.0", "3.0", "2.0", "reach", "b.eaf", "/d/b.eaf"]]  # fmt: skip
    assert list(read(tmp_path, lines).videos) == ["a", "b"]


@pytest.mark.parametrize(
    "lines",
    [
        [[*head("ss.msec", names=("Begin Time",)), "act"], ["1.0", "reach"]],
        [["act", "00:00:01:00", "00:00:03:00", "reach"]],
        [["act", "3.0", "1.0", "reach"]],
    ],
)
def test_exports_without_two_times_are_refused_with_the_menu_to_use(tmp_path, lines):
    (tmp_path / "v.txt").write_text("\n".join("\t".join(cells) for cells in lines) + "\n")
    with pytest.raises(AnnotationError, match=r"v\.txt.*File > Export As > Tab-delimited Text"):
        read_annotations(tmp_path / "v.txt", "elan")


def test_names_that_are_read_as_paths_are_not_written(tmp_path):
    video = VideoAnnotation("/d/x", "", (Segment(0.0, 1.0, "a"),))
    with pytest.raises(AnnotationError, match="'/d/x'"):
        write_annotations(AnnotationSet({"/d/x": video}, ("a",)), tmp_path / "x.txt", "elan")


# -- documents --


def slots(**values):
    times = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{name}"' + ("" if value is None else f' TIME_VALUE="{value}"') + "/>"
        for name, value in values.items()
    )
    return f"<TIME_ORDER>{times}</TIME_ORDER>"


def aligned(name, first, second, value):
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{name}" TIME_SLOT_REF1="{first}" '
        f'TIME_SLOT_REF2="{second}"><ANNOTATION_VALUE>{value}</ANNOTATION_VALUE'
        f"></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


def referring(name, parent, value, before=None):
    previous = f' PREVIOUS_ANNOTATION="{before}"' if before else ""
    return (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{name}" ANNOTATION_REF="{parent}"{previous}>'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )


def tier(name, *annotations, more=""):
    return f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="t"{more}>{"".join(annotations)}</TIER>'


def document(tmp_path, *parts, header=""):
    path = tmp_path / "v.eaf"
    path.write_text(
        f'<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds">{header}</HEADER>{"".join(parts)}'
        "</ANNOTATION_DOCUMENT>"
    )
    return read_annotations(path)


def test_annotations_that_refer_to_others_have_their_time(tmp_path):
    annotations = document(
        tmp_path,
        slots(a=1000, b=3000),
        tier("note", referring("r2", "r1", "deep")),  # before the tier that it refers to
        tier("hand", referring("r1", "x", "left")),
        tier("act", aligned("x", "a", "b", "reach")),
    )
    assert found(annotations) == [(1.0, 3.0, "deep"), (1.0, 3.0, "left"), (1.0, 3.0, "reach")]
    assert annotations.account.left == {}


def test_parts_of_an_annotation_share_its_time_in_their_order(tmp_path):
    parts = [referring("p3", "x", "c", "p2"), referring("p1", "x", "a"), referring("p2", "x", "b", "p1")]
    annotations = document(
        tmp_path, slots(a=0, b=3000), tier("act", aligned("x", "a", "b", "w")), tier("m", *parts)
    )
    assert sorted(found(annotations))[1:] == [(0.0, 3.0, "w"), (1.0, 2.0, "b"), (2.0, 3.0, "c")]


def test_annotations_between_aligned_ones_share_what_lies_between(tmp_path):
    chain = [aligned("x1", "a", "b", "1"), aligned("x2", "b", "c", "2"), aligned("x3", "c", "d", "3")]
    lonely = aligned("y", "e", "f", "?")
    annotations = document(
        tmp_path, slots(a=0, b=None, c=None, d=3000, e=None, f=4000), tier("m", *chain, lonely)
    )
    assert found(annotations) == [(0.0, 1.0, "1"), (1.0, 2.0, "2"), (2.0, 3.0, "3")]
    assert annotations.account.left == {"annotations without a time": 1}


def test_references_in_a_circle_have_no_time(tmp_path):
    circle = [referring("r1", "r2", "a"), referring("r2", "r1", "b"), referring("r3", "gone", "c")]
    ring = [aligned("x1", "a", "b", "1"), aligned("x2", "b", "a", "2")]
    annotations = document(tmp_path, slots(a=None, b=None), tier("m", *circle), tier("n", *ring))
    assert annotations.account.left == {"annotations without a time": 5}


def test_values_of_a_controlled_vocabulary(tmp_path):
    entries = (
        '<CONTROLLED_VOCABULARY CV_ID="c"><CV_ENTRY_ML CVE_ID="e1"><CVE_VALUE>jump</CVE_VALUE></CV_ENTRY_ML>'
        "</CONTROLLED_VOCABULARY>"
    )
    written = aligned("x", "a", "b", "jump high")
    empty = aligned("y", "a", "b", "").replace("ALIGNABLE_ANNOTATION ", 'ALIGNABLE_ANNOTATION CVE_REF="e1" ')
    annotations = document(tmp_path, slots(a=0, b=3000), tier("act", written, empty), entries)
    assert [label for _, _, label in found(annotations)] == ["jump high", "jump"]


def media(url, origin="", kind="video/mp4"):
    return f'<MEDIA_DESCRIPTOR MEDIA_URL="{url}" MIME_TYPE="{kind}"{origin}/>'


def test_times_are_those_of_the_video_also_where_media_were_aligned(tmp_path):
    body = slots(a=1000, b=3000), tier("act", aligned("x", "a", "b", "reach"))
    sound = media("file:///d/v.wav", ' TIME_ORIGIN="9000"', "audio/x-wav")
    own = media("file:///d/v.mp4", ' TIME_ORIGIN="2500"')
    other = media("file:///d/other%20camera.mp4", ' TIME_ORIGIN="100"')
    annotations = document(tmp_path, *body, header=sound + other + own)
    assert found(annotations) == [(3.5, 5.5, "reach")]
    assert "in 1 files ELAN's clock begins elsewhere than the video (TIME_ORIGIN)" in annotations.notes[0]
    annotations = document(tmp_path, *body, header=sound + other)
    assert found(annotations) == [(1.1, 3.1, "reach")]
    assert "named otherwise than their media" in annotations.notes[1]
    assert "'v (other camera.mp4)'" in annotations.notes[1]
    assert document(tmp_path, *body, header=media("file:///d/v.mp4") + sound).notes == ()
