"""Tables as spreadsheets, scripts and people of all countries write them."""

import pytest

from tal.annotations import Segment, read_annotations, read_predictions
from tal.annotations.decimals import Decimals
from tal.annotations.delimited import find_delimiter, split_rows
from tal.annotations.times import to_seconds
from tal.errors import AnnotationError

HEAD = "video,start,end,label\n"


def read(tmp_path, content, name="t.csv", **more):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_annotations(path, **more)


def segments(tmp_path, content, name="t.csv"):
    return list(read(tmp_path, content, name).videos["v1"].segments)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("video;start;end;label\nv1;1,5;3,25;jump\n", (1.5, 3.25, "jump")),
        ("video;start;end;label\nv1;1,500;3,250;jump\n", (1.5, 3.25, "jump")),
        ("video\tstart\tend\tlabel\nv1\t1,500\t3,250\tjump\n", (1.5, 3.25, "jump")),
        ("video;start;end;label\nv1;1.234,5;1.300,25;jump\n", (1234.5, 1300.25, "jump")),
        ("video;start;end;label\nv1;1 234,5;1\u202f300,25;jump\n", (1234.5, 1300.25, "jump")),
        ('video,start,end,label\nv1,"1,234.5","2,000",jump\n', (1234.5, 2000.0, "jump")),
        ("video;start;end;label\nv1;1.5;3.25;jump, high\n", (1.5, 3.25, "jump, high")),
        ("sep=;\r\nvideo;start;end;label\r\nv1;1,5;2;jump\r\n", (1.5, 2.0, "jump")),
        ('"sep=\t"\nvideo\tstart\tend\tlabel\nv1\t1\t2\tjump\n', (1.0, 2.0, "jump")),
        ("video|start|end|label\nv1|1|2|jump\n", (1.0, 2.0, "jump")),
        (HEAD + "v1,00:01,00:02,jump\n", (1.0, 2.0, "jump")),
        (HEAD + 'v1,"00:00:01,500",1h02m03s,jump\n', (1.5, 3723.0, "jump")),
        ("Video;Start (s);Stop Time [s];Behaviour;;\nv1;1;2;jump;;\n", (1.0, 2.0, "jump")),
        ("video,start_ms,end (ms),label\nv1,1000,2500,jump\n", (1.0, 2.5, "jump")),
        ("My study;;;\n;;;\nvideo;start;end;label\nv1;1;2;jump\n", (1.0, 2.0, "jump")),
        ('"video", "start", "end", "label"\nv1, 1, 2, "jump, high"\n', (1.0, 2.0, "jump, high")),
        (HEAD.replace("\n", "\r") + "v1,1,2,jump\r", (1.0, 2.0, "jump")),
        ("video,start,end,label,Comment,Comment\nv1,1,2,jump,a,b\n", (1.0, 2.0, "jump")),
    ],
)
def test_tables_that_are_read(tmp_path, content, expected):
    assert segments(tmp_path, content) == [Segment(*expected)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_with_a_mark_of_its_encoding(tmp_path, encoding):
    text = "video\tstart\tend\tlabel\nv1\t1,5\t3,25\tÄpfel\n"
    content = ("" if encoding in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff") + text
    assert segments(tmp_path, content.encode(encoding)) == [Segment(1.5, 3.25, "Äpfel")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((HEAD + "v1,1,2,Äpfel\n").encode("cp1252"), r"line 2\): save it as UTF-8"),
        (HEAD.encode("utf-16-le"), "zero bytes.*save it as UTF-8"),
        (HEAD + "v1,1,5,3,25,jump\n", "line 2: 6 cells under 4 columns; .*semicolons"),
        (HEAD + 'v1,"1,500","2,500",jump\n', "line 2: '1,500' can be 1.500 or 1500"),
        ("video;start;end;label\nv1;1,5;1.500;jump\n", "line 2: '1.500' can be 1.500 or 1500"),
        ("video,start_frame,end_frame,label\nv1,10,20,jump\n", "'start_frame' counts frames: give seconds"),
        ("video,start (frames),end (frames),label\nv1,10,20,jump\n", "counts frames: give seconds"),
        ("video,start,end,start,label\nv1,1,2,3,jump\n", "two columns can be 'start'"),
        (HEAD + "v1,00:00:01:12,2,jump\n", "line 2: '00:00:01:12' counts frames"),
        (HEAD + "v1,1_0,20,jump\n", "line 2: '1_0' is not a time"),
        (HEAD + "v1,1:75,200,jump\n", "line 2: '1:75' is not a time"),
        ("video,start,end,label,subset\nv1,1,2,x,train\nv1,4,6,y,val\n", "'v1' has two values of subset"),
        ("video,start,end,label,duration\nv1,1,2,x,9\nv1,4,6,y,10\n", "'v1' has two values of duration"),
        ("v1,1.0,2.0,jump\nv2,1.0,2.0,jump\n", "a table needs a first line with the columns"),
        ("v1.mp4\t1.0\t2.0\tjump\n", "a table needs a first line with the columns"),
    ],
)
def test_tables_that_are_refused_with_the_line_and_the_remedy(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path, content)


def test_a_column_of_durations_may_be_those_of_actions(tmp_path):
    found = read(tmp_path, "video,start,end,duration,label\nv1,1,2,1,a\nv1,4,6,2,b\n")
    assert found.videos["v1"].duration_s is None
    assert "'duration' is the length of each action" in found.notes[0]
    found = read(tmp_path, "video,start,end,duration,label\nv1,1,2,60,a\nv1,4,6,60,b\n")
    assert found.videos["v1"].duration_s == 60.0


def test_a_later_row_may_say_what_an_earlier_left_out(tmp_path):
    found = read(tmp_path, "video,start,end,label,subset\nv1,1,2,a,\nv1,4,6,b,test\n")
    assert found.subsets == {"test": 1}


# -- quotation marks --

ROWS = [
    ("1", "2", '"quick" jump'),
    ("3", "4", '"kick'),
    ("5", "6", "wave"),
    ("7", "8", 'bow" low'),
    ("9", "10", "spin"),
]


def test_no_row_is_swallowed_by_a_stray_quotation_mark_between_tabs(tmp_path):
    body = "".join(f"v1\t{s}\t{e}\t{label}\n" for s, e, label in ROWS)
    found = segments(tmp_path, "video\tstart\tend\tlabel\n" + body, "t.tsv")
    assert found == [Segment(float(s), float(e), label) for s, e, label in ROWS]
    body = "".join(f"act\t{s}.0\t{e}.0\t{label}\n" for s, e, label in ROWS)
    head = "Tier\tBegin Time - ss.msec\tEnd Time - ss.msec\tAnnotation\n"
    found = list(read(tmp_path, head + body, "v1.txt").videos["v1"].segments)
    assert [s.label for s in found] == [label for _, _, label in ROWS]


@pytest.mark.parametrize(
    "body",
    [
        'v1\t1\t2\tkick\t"unsure\nv1\t3\t4\twave\t\nv1\t5\t6\tspin\t\n',
        'v1\t1\t2\tkick\t"un"sure\nv1\t3\t4\twave\t""\nv1\t5\t6\tspin\t"\n',
        'v1\t1\t2\tkick\t"a\nv1\t3\t4\twave\tb"\nv1\t5\t6\tspin\t\n',
    ],
)
def test_a_stray_mark_in_a_comment(tmp_path, body):
    found = segments(tmp_path, "video\tstart\tend\tlabel\tcomment\n" + body, "t.tsv")
    assert [s.label for s in found] == ["kick", "wave", "spin"]


def test_a_mark_that_opens_and_never_closes_between_commas_names_its_line(tmp_path):
    with pytest.raises(AnnotationError, match="line 3: a quotation mark opens a cell and does not close it"):
        read(tmp_path, HEAD + 'v1,1,2,wave\nv1,3,4,"kick\nv1,5,6,spin\n')
    with pytest.raises(AnnotationError, match="line 2: a quotation mark opens a cell that would go on"):
        read(tmp_path, HEAD + 'v1,1,2,"kick\nv1,3,4,wave"\nv1,5,6,spin\n')


def test_cells_in_quotation_marks_hold_delimiters_marks_and_line_ends():
    text = 'a,b,c\n"x\ny",1,\n2,"say ""hi"", twice",""\n"1,\n2",3,"z\r\n\r\nz"\n'
    assert list(split_rows(text, ",", "t")) == [
        (1, ["a", "b", "c"]),
        (2, ["x\ny", "1", ""]),
        (4, ["2", 'say "hi", twice', ""]),
        (5, ["1,\n2", "3", "z\r\n\r\nz"]),
    ]


def test_the_first_line_with_a_delimiter_outside_of_marks_says_what_it_is():
    assert find_delimiter('"#file:///a,b;c.mp4 -- offset: 0"\na\tb\n') == "\t"
    assert find_delimiter('"a, b";c\n') == ";" and find_delimiter("no table") == ","


def test_predictions_lose_no_row_to_a_quotation_mark(tmp_path):
    path = tmp_path / "p.tsv"
    path.write_text('video_id\tstart_s\tend_s\tlabel\tscore\nv\t1\t2\t"kick\t0.5\nv\t3\t4\t wave \t0.25\n')
    frame = read_predictions(path)
    assert frame["label"].tolist() == ['"kick', "wave"] and frame["score"].tolist() == [0.5, 0.25]
    path.write_text("video_id\tstart_s\tend_s\tlabel\tscore\nv\t1:5\t2\tkick\t0.5\n")
    with pytest.raises(AnnotationError, match=r"line 2: '1:5', '2', '0.5' are not all finite numbers"):
        read_predictions(path)


# -- numbers and times by themselves --


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5", 1.5),
        ("1e-05", 1e-05),
        ("00:00:01,500", 1.5),
        ("-1:30", -90.0),
        ("90:00", 5400.0),
        ("1h", 3600.0),
        ("2 min 5 s", 125.0),
        ("1500ms", 1.5),
        ("90 s", 90.0),
        (" 2 ", 2.0),
    ],
)
def test_times_as_people_write_them(text, seconds):
    assert to_seconds(text, "here") == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1_000",
        "1:60",
        "00:61:00",
        "nan",
        "inf",
        "1e400",
        "9" * 400,
        10**400,
        1e12,
        True,
        None,
        "1h2",
        "5 apples",
        "1:2:3:4:5",
        "01:00:00;02",
        [1],
    ],
)
def test_what_is_not_a_time(value):
    with pytest.raises(AnnotationError, match=r"^here: "):
        to_seconds(value, "here")


def test_numbers_that_mean_nothing_stay_as_they_are():
    decimals = Decimals.told_by(["1,5", "1,23,4", "x", "00:01,5"], ";")
    assert [decimals.plain(cell, "") for cell in ("1,23,4", "x", "00:01,5", "1e-05")] == [
        "1,23,4", "x", "00:01,5", "1e-05",
    ]  # fmt: skip
