"""Every reader of users' files on damaged and hostile ones: an AnnotationError, or a set that makes sense.

The quick profile runs always, the thorough one with ``-m slow -s``; both print how many inputs were tried,
how many of them were read, and the longest time that one took.
"""

import csv
import io
import math
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tal.annotations import (
    AnnotationSet,
    Segment,
    VideoAnnotation,
    read_annotations,
    read_predictions,
    write_annotations,
)
from tal.annotations.delimited import split_rows
from tal.annotations.formats.registry import BY_NAME
from tal.annotations.rows import read_class_list
from tal.errors import AnnotationError
from tal.inference.video_scores import VideoScores

QUICK, THOROUGH = 40, 2000

NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a\\0b",
    "a\0b",
    "a\nb",
    "\\ud800",
    "\ud800",
    "x" * 4096,
    "\u202e",
    " ",
    "",
    '"',
    "'",
    "=1+1",
    "NA",
    "Not found",
    "player #1:a;b|player #2:c",
    "#x -- offset: 9",
    "é",
    "e\u0301",
]
NUMBERS = [
    "NaN",
    "-inf",
    "1e999",
    "1" + "0" * 400,
    "9" * 5000,
    "-1",
    "1e-320",
    "1,5",
    "1.234,5",
    "1:2:3:4",
    "00:61:99",
    "1e308",
    "-1e308",
    "0x10",
    "1_0",
    "\u0661",
    "NA",
    "",
    "null",
    "true",
    "1h99m",
    "1e9",
    "1000000001",
]
STRUCTURE = [
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    '<!ENTITY b "&b;&b;">',
    "&b;",
    "&lt;",
    "<a>" * 2000,
    "[" * 990,
    "[" * 5000,
    "{" * 500,
    '{"a":' * 900,
    '"',
    '""',
    "\t",
    ";",
    ",",
    "|",
    "\r",
    "\r\n",
    "\n\n",
    "\ufeff",
    "sep=;\n",
    "]]>",
    "}",
    "]",
    '"v":',
    "#",
    "\x00",
    "\x1b[0m",
    "\u2028",
    "</TIER>",
    'PREVIOUS_ANNOTATION="a"',
]

EAF = (
    '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT><HEADER '
    'TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR '
    'MEDIA_URL="file:///d/v.mp4" TIME_ORIGIN="10"/></HEADER><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="a" '
    'TIME_VALUE="1000"/>'
    '<TIME_SLOT TIME_SLOT_ID="b"/><TIME_SLOT TIME_SLOT_ID="c" TIME_VALUE="3000"/></TIME_ORDER><TIER '
    'TIER_ID="t" '
    'LINGUISTIC_TYPE_REF="prediction"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="x" TIME_SLOT_REF1="a" '
    'TIME_SLOT_REF2="b"><ANNOTATION_VALUE>jump '
    "0.500</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION><ANNOTATION>"
    '<ALIGNABLE_ANNOTATION ANNOTATION_ID="y" TIME_SLOT_REF1="b" TIME_SLOT_REF2="c"><ANNOTATION_VALUE>run'
    "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER><TIER "
    'TIER_ID="u"><ANNOTATION><REF_ANNOTATION '
    'ANNOTATION_ID="z" '
    'ANNOTATION_REF="x"><ANNOTATION_VALUE/></REF_ANNOTATION></ANNOTATION></TIER'
    "></ANNOTATION_DOCUMENT>"
)
BORIS = (
    "Observation id\tSource\tTime offset (s)\tMedia duration (s)\tFPS\tSubject\tBehavior\tModifier "
    "#1\tBehavior type\tTime\t"
    "Media file name\no\tplayer #1:/d/A.mp4;/d/B.mp4|player "
    "#2:C.mp4\t1\t5.000;30.000|35\t25;25|25\ts\tjump\t\tSTART\t2.000\t"
    "/d/A.mp4\no\tplayer #1:/d/A.mp4;/d/B.mp4\t1\t5.000;30.000\t25;25\ts\tjump\t\tSTOP\t9\t/d/B.mp4\n"
)
OLD_BORIS = (
    "Observation id,o,,\nPlayer #1,cow.mp4,,\nTime offset (s),10,,\nTime,Media file path,Total "
    "length,FPS,Behavior,Status\n"
    "11,cow.mp4,60,25,eat,START\n13,cow.mp4,60,25,eat,STOP\n"
)
AGGREGATED = (
    "Observation id\tMedia file\tTotal length\tBehavior\tStart (s)\tStop (s)\no\ta.mp4\t9\tjump\t1.5\t2,5\n"
)
ELAN = (
    '"#file:///d/v.mp4 -- offset: 0"\nBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - '
    "hh:mm:ss.ms\tEnd Time - "
    "ss.msec\tleft\tright\tFile Name\n00:00:01.000\t1.0\t00:00:02.000\t2.0\ta\tb\tv.eaf\n"
)
JSON = (
    '{"version": "1", "taxonomy": [{"nodeName": "a", "parentName": null}], "database": {"v": '
    '{"subset": "test", "duration":'
    ' 9.5, "fps": 25, "frame": 225, "url": "u", "annotations": [{"label": "a", "segment": [1, 2.5]}]}}}'
)
CORRECTIONS = (
    '{"version": "longtal corrections 1", "taxonomy": [], "database": {"v": {"subset": "x", "duration": 9, '
    '"fps": 25, "annotations": [{"label": "jump", "segment": [1, 2.5], "source": "accepted", "score": 0.5}], '
    '"rejected": [{"label": "run", "segment": [3, 4], "score": 0.5}], "reviewed": [[0, 9]], '
    '"sampled": [{"segment": [0, 9], "probability": 0.5}]}}}'
)
TRACE = (
    '# trace-meta: {"threshold": {"jump": 0.4}}\nlabelId, timestamp,endTimestamp,score,review\n'
    'jump,1.0,2.5,0.9,accepted\n"run, fast",3,4,0.5,rejected\nrun,5,6,,\n'
)
TASKS = (
    '[{"id": 1, "data": {"video": "/data/upload/1/0a1b2c3d-v.mp4", "framerate": "30000/1001"}, '
    '"annotations": [{"was_cancelled": false, "result": [{"type": "timelinelabels", "value": {"ranges": '
    '[{"start": 1, "end": 61}], "timelinelabels": ["jump"]}}, {"type": "labels", "value": {"start": 1.5, '
    '"end": 2, "labels": ["run"]}}]}], "predictions": []}]'
)
EPIC = (
    "video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
    "v,00:00:01.5,00:00:02,put,0,cup,1\n"
)
TABLE = 'video;start (s);end;label;duration\nv;1,5;2,25;"a; b";9\nv;00:00:03,500;4;c;9\n'
# Format -> (file, valid contents).
SEEDS = {
    "activitynet": ("a.json", [JSON, '{"v": {"subset": "x", "annotations": []}}']),
    "multithumos": ("m.json", ['{"v": {"subset": "test", "duration": 9, "actions": [[1, 0.5, 2]]}}']),
    "thumos14": ("Jump_val.txt", ["v 1.0 2.5\nw  3 4\n"]),
    "epic100": ("EPIC_train.csv", [EPIC]),
    "charades": ("Charades_test.csv", ["id,actions,length,subset\nv,c01 1 2.5;c02 3 4,9.5,test\n"]),
    "table": ("t.csv", [TABLE, 'video\tstart\tend\tlabel\tsubset\tfps\nv\t1\t2\t"a\ttest\t25\n']),
    "eaf": ("v.eaf", [EAF]),
    "elan": (
        "v.txt",
        [ELAN, "act\t\t1.0\t1000\t2.0\t2000\twave\n", "act\t00:00:01.0\t00:00:02.0\twave\tv.eaf\n"],
    ),
    "boris": ("b.tsv", [BORIS, OLD_BORIS, AGGREGATED]),
    "corrections": ("r.json", [CORRECTIONS]),
    "vtrace": ("v.csv", [TRACE]),
    "label_studio": ("l.json", [TASKS]),
    "predictions.json": (
        "p.json",
        ['{"results": {"v": [{"label": "a", "score": 0.5, "segment": [1, 2]}], "w": []}}'],
    ),
    "predictions.csv": ("p.csv", ['video_id,start_s,end_s,label,score\nv,1,2,"a, b",0.5\nw,3,4,c,1\n']),
    "class list": ("class_list.txt", ["0 jump\n1 run fast\n"]),
    "video scores": ("s.json", ['{"class": ["a", "b"], "results": {"v": [0.5, 0], "w": {"a": 1}}}']),
}


def _written(name):
    """(file, content) of a format without seeds of its own: what its writer writes."""
    suffix = BY_NAME[name].suffixes[0]
    video = VideoAnnotation("v", "test", (Segment(1.0, 2.5, "jump"), Segment(3.0, 4.0, "run")))
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"v{suffix}"
        write_annotations(AnnotationSet({"v": video}, ("jump", "run")), path, name)
        return path.name, [path.read_text()]


SEEDS |= {f.name: _written(f.name) for f in BY_NAME.values() if f.name not in SEEDS}


def read(name, path):
    """What a reader gives; "auto": that which is told by the content."""
    if name == "auto" or name in BY_NAME:
        annotations = read_annotations(path, name)
        for video_id, video in annotations.videos.items():
            assert video_id == video.id and video_id.strip() and "\0" not in video_id
            for s in video.all_segments:
                assert (
                    math.isfinite(s.start_s) and math.isfinite(s.end_s) and s.label == s.label.strip() != ""
                )
        assert annotations.account.taken == sum(len(v.all_segments) for v in annotations.videos.values())
        " ".join((*annotations.notes, *annotations.videos, *annotations.labels)).encode()
    elif name.startswith("predictions"):
        assert read_predictions(path)[["start_s", "end_s", "score"]].map(math.isfinite).all(axis=None)
    elif name == "class list":
        read_class_list(path)
    else:
        VideoScores.read(path, ["a", "b"])


# -- what is opened meanwhile --

_opened: list[str] | None = None


def _watch(event, args):
    if event == "open" and _opened is not None and isinstance(args[0], str | bytes | Path):
        _opened.append(args[0].decode() if isinstance(args[0], bytes) else str(args[0]))


sys.addaudithook(_watch)


class Tally:
    """Counts of the inputs tried, and the longest time that one took."""

    def __init__(self):
        self.counts, self.longest_s = Counter(), 0.0

    def run(self, name, path):
        """Read one input: anything but an AnnotationError fails the test."""
        global _opened
        _opened, begun = [], time.perf_counter()
        try:
            read(name, path)
            self.counts["read"] += 1
        except AnnotationError as error:
            str(error).encode()
            self.counts["refused"] += 1
        finally:
            opened, _opened = _opened, None
        self.longest_s = max(self.longest_s, time.perf_counter() - begun)
        outside = [
            o for o in opened if not Path(o).is_relative_to(path.parent) and not o.endswith((".py", ".pyc"))
        ]
        assert not outside, outside


@pytest.fixture(scope="module")
def tally():
    made = Tally()
    yield made
    total = made.counts.total()
    print(
        f"\nfuzz: {total} inputs, {made.counts['refused']} refused, {made.counts['read']} read, 0 crashes, "
        f"0 files opened outside; the longest took {made.longest_s:.2f} s"
    )


tokens = st.sampled_from([*NAMES, *NUMBERS, *STRUCTURE]).map(lambda t: t.encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw, seeds):
    """A valid content with pieces cut out, doubled, or replaced by hostile ones; or bytes of any kind."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = draw(st.sampled_from(seeds)).encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 2, 4, 9, 40])))
        piece = draw(st.one_of(tokens, st.binary(max_size=4), st.just(b""), st.just(content[start:stop] * 3)))
        content = content[:start] + piece + content[stop:]
    if draw(st.integers(0, 19)) == 0:
        content = content.decode("utf-8", "replace").encode(
            draw(st.sampled_from(["utf-16", "utf-16-le", "utf-8-sig"]))
        )
    return content


# Marks between which a value stands, so that hostile ones reach what lies behind the parser.
VALUES = {"{": '"', "[": '"', "<": '"'}


@st.composite
def hostile_values(draw, seeds):
    """A valid content in which some values are hostile, in a form that its parser takes."""
    text = draw(st.sampled_from(seeds))
    delimiter = VALUES.get(text[0]) or next((d for d in "\t;," if d in text.split("\n")[-2]), " ")
    pieces = text.split(delimiter)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(pieces) - 1))
        value = draw(st.sampled_from(NAMES + NUMBERS))
        pieces[place] = value if delimiter == '"' or "\n" not in pieces[place] else value + "\n" + value
    return delimiter.join(pieces).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize(
    "examples",
    [pytest.param(QUICK, id="quick"), pytest.param(THOROUGH, id="thorough", marks=pytest.mark.slow)],
)
def test_no_file_is_a_crash_or_leads_elsewhere(tmp_path, tally, name, examples):
    file, seeds = SEEDS[name]

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(damaged(seeds), hostile_values(seeds)))
    def check(content):
        (tmp_path / file).write_bytes(content)
        tally.run(name, tmp_path / file)
        if name in BY_NAME:
            tally.run("auto", tmp_path / file)

    check()


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_are_read(tmp_path, tally, name):
    file, seeds = SEEDS[name]
    for content in seeds:
        (tmp_path / file).write_text(content)
        read(name, tmp_path / file)


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize(
    "token",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "<a>" * 100_000,
        '"' * 100_000,
        '"\n' * 20_000,
        'v\t1\t2\t"x\n' * 20_000,
        "1" * 1_000_000,
        "\t" * 1_000_000,
        "1" * 200_000 + "x",
        "1h" + " " * 200_000 + "x",
        " - " * 50_000,
        "(" * 100_000,
    ],
)
def test_size_alone_is_no_danger(tmp_path, tally, name, token):
    file, seeds = SEEDS[name]
    begun = time.perf_counter()
    for content in (token, seeds[0] + token, seeds[0].replace("1", token, 1)):
        (tmp_path / file).write_text(content)
        tally.run(name, tmp_path / file)
    assert time.perf_counter() - begun < 10  # under a second; minutes where an expression backtracks


CELLS = st.text('ab", \n\r\t;', max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1)),
    st.data(),
)
def test_what_csv_writers_write_is_read_as_it_was_or_refused(rows, data):
    delimiter = data.draw(st.sampled_from("\t;,"))
    if delimiter == "\t":  # lines of a cell that look like whole rows are rows
        rows = [[cell.replace("\t", " ") for cell in row] for row in rows]
    header = list("abcd")[: len(rows[0])]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    try:
        found = [cells for _, cells in split_rows(text.getvalue(), delimiter, "t")]
    except AnnotationError:
        return
    assert found == [header, *(row for row in rows if any(map(str.strip, row)))]
