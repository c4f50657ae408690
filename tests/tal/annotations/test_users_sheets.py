"""Tables that went through a spreadsheet, or that have names and numbers of classes side by side."""

import pytest

from tal.annotations import AnnotationSet, Segment, VideoAnnotation, read_annotations, write_annotations
from tal.annotations.read import with_info
from tal.annotations.times import to_rate, to_seconds
from tal.errors import AnnotationError

HEAD = "video,start,end,label\n"


def read(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content)
    return read_annotations(path)


def labels_of(annotations):
    return [(v.id, s.label) for v in annotations.videos.values() for s in v.segments]


# -- what a spreadsheet leaves --


@pytest.mark.parametrize(
    "lost", ["#NAME?", "#REF!", "#VALUE!", "#N/A", "#DIV/0!", "#WERT!", "#NV", "#NOMBRE?"]
)
@pytest.mark.parametrize("row", ["{},1,2,jump\n", "v1,1,2,{}\n", "v1,{},2,jump\n"])
def test_a_cell_that_a_spreadsheet_lost_is_an_error_that_names_the_line(tmp_path, lost, row):
    with pytest.raises(AnnotationError, match=r"line 3: '#.*' is a spreadsheet's error.*column as text"):
        read(tmp_path, HEAD + "v0,1,2,run\n" + row.format(lost))


def test_two_lost_ids_are_not_one_video_of_the_table_of_durations(tmp_path):
    annotations = read(tmp_path, HEAD + "-abc,1,2,jump\n")
    info = tmp_path / "info.csv"
    info.write_text("video,duration\n#NAME?,10\n#NAME?,10\n")
    with pytest.raises(AnnotationError, match=r"line 2: '#NAME\?' is a spreadsheet's error"):
        with_info(annotations, info)


def test_a_name_that_would_be_taken_for_a_lost_one_is_not_written(tmp_path):
    video = VideoAnnotation("#NAME?", "", (Segment(1.0, 2.0, "a"),))
    with pytest.raises(AnnotationError, match=r"cannot hold a spreadsheet's error: '#NAME\?'"):
        write_annotations(AnnotationSet({"#NAME?": video}, ("a",)), tmp_path / "t.csv", "table")


@pytest.mark.parametrize("name", ["#1", "#cat", "a#N/A", "#name?"])
def test_names_with_a_number_sign_are_names(tmp_path, name):
    assert labels_of(read(tmp_path, HEAD + f"{name},1,2,{name}\n")) == [(name, name)]


def test_comments_are_counted_and_are_no_videos(tmp_path):
    found = read(tmp_path, HEAD + "# by Anna\nv1,1,2,jump\n# sure, all\n")
    assert list(found.videos) == ["v1"]
    assert found.notes == ("2 lines that begin with '#' are comments, not read: line 2, 4",)


def test_rows_that_were_made_comments_are_named(tmp_path):
    found = read(tmp_path, HEAD + "v1,1,2,jump\n#v1,3,4,jump\n#v1,5,6,jump\n")
    assert found.notes == (
        "2 rows are of videos that begin with '#': '#v1'; delete the rows if they are comments",
    )


def test_the_line_of_a_sum_is_seen(tmp_path):
    found = read(tmp_path, HEAD + "v1,1,2,jump\nTotal,,,\n")
    assert found.notes == ("1 rows with a name alone stand for videos without actions: 'Total'",)
    with_subset = read(tmp_path, HEAD.replace("\n", ",subset\n") + "v1,1,2,jump,test\nv2,,,,test\n")
    assert list(with_subset.videos) == ["v1", "v2"] and with_subset.notes == ()


def test_merged_cells_say_what_to_do(tmp_path):
    with pytest.raises(AnnotationError, match="line 3: no video name; write it on every row"):
        read(tmp_path, HEAD + "v1,1,2,jump\n,3,4,run\n")


# -- times and rates that programs write --


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0 days 00:01:30.500000", 90.5),
        ("1 day 00:00:01", 86_401.0),
        ("PT1M30.5S", 90.5),
        ("PT2H", 7200.0),
    ],
)
def test_lengths_of_time_as_programs_write_them(text, seconds):
    assert to_seconds(text, "here") == seconds


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("12:01:30 AM", "is a time of day; .*format"),
        ("1900-01-00 00:01:30", "is a time of day; .*format"),
        ("00;00;01;12", "counts frames; give seconds"),
        ("0 days 00:61:00", "is not a time"),
        ("PT", "is not a time"),
    ],
)
def test_times_that_are_refused_with_the_remedy(text, remedy):
    with pytest.raises(AnnotationError, match=f"^here: .*{remedy}"):
        to_seconds(text, "here")


@pytest.mark.parametrize(
    ("value", "rate"),
    [("30000/1001", 30000 / 1001), ("25/1", 25.0), ("0/0", 0.0), ("29.97", 29.97), (30, 30.0)],
)
def test_rates_as_ffprobe_writes_them(value, rate):
    assert to_rate(value, "here") == rate


@pytest.mark.parametrize("value", ["30 fps", "nan", "1" * 340 + "/1", None])
def test_what_is_not_a_rate(value):
    with pytest.raises(AnnotationError, match=r"^here: .* is not a frame rate; give a number"):
        to_rate(value, "here")


def test_rates_and_durations_of_nothing_are_not_known(tmp_path):
    found = read(
        tmp_path, HEAD.replace("\n", ",duration,fps\n") + "v1,1,2,a,0,0/0\nv2,1,2,a,-1,25/1\nv3,1,2,a,9,25\n"
    )
    facts = [(v.duration_s, v.fps) for v in found.videos.values()]
    assert facts == [(None, None), (None, 25.0), (9.0, 25.0)]
    assert "2 videos have a duration, frame rate or number of frames of 0 or less" in found.notes[0]


# -- names and numbers of classes side by side --


def test_names_win_over_the_numbers_of_their_classes(tmp_path):
    found = read(tmp_path, "video,start,end,label,class_name\nv1,1,2,0,a\nv1,3,4,1,b\nv1,5,6,0,a\n")
    assert labels_of(found) == [("v1", "a"), ("v1", "b"), ("v1", "a")]
    assert found.notes == ("labels are those of column 'class_name'; 'label' is not read",)


def test_numbers_alone_are_labels(tmp_path):
    assert labels_of(read(tmp_path, HEAD + "v1,1,2,3\n")) == [("v1", "3")]


@pytest.mark.parametrize("negative", ["-1", "0"])
def test_negative_examples_are_no_actions(tmp_path, negative):
    found = read(
        tmp_path,
        "classname,youtube_id,subset,start,end,label\n"
        f"Archery,a,training,1,3,1\nArchery,a,training,5,7,{negative}\nBowling,-c,validation,1,3,1\n",
    )
    assert labels_of(found) == [("a", "Archery"), ("-c", "Bowling")]
    assert found.account.left == {"negative examples": 1}
    assert "rows whose 'label' is 0 or -1 are negative examples" in found.notes[0]


def test_numbers_that_contradict_the_names_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="'action' and 'label' can both be the label"):
        read(tmp_path, "video,start,end,label,action\nv1,1,2,5,a\nv1,3,4,7,a\n")
    with pytest.raises(AnnotationError, match="line 3: does not say whether its action is there"):
        read(tmp_path, "video,start,end,label,action\nv1,1,2,1,a\nv1,3,4,,a\nv1,5,6,-1,a\n")


def test_of_two_columns_of_names_the_note_says_which_is_read(tmp_path):
    found = read(tmp_path, "video,start,end,type,behavior\nv1,1,2,STATE,jump\n")
    assert labels_of(found) == [("v1", "jump")]
    assert found.notes == ("labels are those of column 'behavior'; 'type' is not read",)


@pytest.mark.parametrize(
    "header",
    ["label,youtube_id,time_start,time_end,split", "class,video_id,start_timestamp,stop_timestamp,subset"],
)
def test_headers_of_published_tables(tmp_path, header):
    found = read(tmp_path, header + "\nabseiling,0347,95,105,train\n")
    assert found.videos["0347"].segments == (Segment(95.0, 105.0, "abseiling"),)
    assert found.subsets == {"train": 1}
