"""What every format must do, asked of all that the registry lists."""

import re
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import (
    AnnotationSet,
    Detection,
    Segment,
    VideoAnnotation,
    read_annotations,
    read_predictions,
    write_annotations,
)
from tal.annotations.formats.base import PARTS
from tal.annotations.formats.registry import (
    BY_NAME,
    FORMATS,
    PREDICTION_FILES,
    default_format,
    detect_format,
    find_format,
    prediction_files,
)
from tal.annotations.types import label_order
from tal.errors import AnnotationError

DOCS = Path(__file__).resolve().parents[3] / "docs"
# Files for formats that no suffix stands for; the epic and charades readers take the subset from the name.
PLACES = {"multithumos": "m.json", "epic100": "e.csv", "charades": "c.csv", "boris": "b.tsv", "tsv": "t.tsv"}
PLACES |= {
    "thumos14": "folder",
    "eaf": "folder",
    "label_studio": "l.json",
    "vtrace": "folder",
    "corrections": "r.json",
}
SCORED = {f.predictions.name: f for f in FORMATS if f.predictions is not None}


def place(name):
    return PLACES.get(name) or f"a{find_format(name).suffixes[0]}"


def round_trip(annotations, folder, name):
    path = folder / place(name)
    write_annotations(annotations, path, name)
    return read_annotations(path, name, keep_duplicates=True, ignore_labels=())


def one(video_id="x", label="a", subset="validation", **more):
    video = VideoAnnotation(video_id, subset, (Segment(1.0, 2.0, label),), **more)
    return AnnotationSet({video_id: video}, (label,))


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


@pytest.mark.parametrize("name", sorted(BY_NAME))
@settings(max_examples=25, deadline=None)
@given(annotations=annotation_sets())
def test_round_trips_lose_nothing_within_the_precision_stated(tmp_path_factory, name, annotations):
    back = round_trip(annotations, tmp_path_factory.mktemp(name), name)
    assert back.videos.keys() == annotations.videos.keys()
    tolerance_s = find_format(name).precision_s / 2 * 1.0002
    for video_id, video in annotations.videos.items():
        left = list(back.videos[video_id].counted)
        assert len(left) == len(video.counted)
        for s in video.counted:  # rounding may swap neighbours: compare as a multiset
            near = [
                o
                for o in left
                if o.label == s.label
                and abs(o.start_s - s.start_s) <= tolerance_s
                and abs(o.end_s - s.end_s) <= tolerance_s
            ]
            assert near, (s, left)
            left.remove(near[0])
    if "durations" in find_format(name).keeps:
        durations = {i: v.duration_s for i, v in annotations.videos.items()}
        assert {i: v.duration_s for i, v in back.videos.items()} == durations


# Has all that PARTS counts: 2 subsets, 2 durations, one of each of the others, a list of 2 labels.
RICH = AnnotationSet(
    {
        "x": VideoAnnotation(
            "x",
            "training",
            (Segment(1.0, 2.0, "b"),),
            duration_s=5.0,
            fps=25.0,
            num_frames=125,
            url="https://example.org/x",
            degenerate=(Segment(3.0, 3.0, "b"),),
        ),
        "y": VideoAnnotation("y", "test", (), duration_s=7.5),
    },
    ("b", "a"),
)
COUNTS = {"subsets": 2, "durations": 2, "frame rates": 1, "frame counts": 1, "addresses": 1}
COUNTS |= {"videos without a segment": 1, "segments without length": 1, "list of labels": 2}
VALUES = {
    "subsets": lambda a, ids: [a.videos[i].subset for i in ids],
    "durations": lambda a, ids: [a.videos[i].duration_s for i in ids],
    "frame rates": lambda a, ids: [a.videos[i].fps for i in ids],
    "frame counts": lambda a, ids: [a.videos[i].num_frames for i in ids],
    "addresses": lambda a, ids: [a.videos[i].url for i in ids],
    "videos without a segment": lambda a, ids: list(a.videos),
    "segments without length": lambda a, ids: [a.videos[i].degenerate for i in ids],
    "list of labels": lambda a, ids: a.labels,
}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_format_keeps_what_it_states_and_nothing_else(tmp_path, name):
    back = round_trip(RICH, tmp_path, name)
    for part in PARTS:
        value = VALUES[part]
        kept = value(back, back.videos) == value(RICH, back.videos)
        assert kept == (part in find_format(name).keeps), part
    assert back.videos["x"].segments == RICH.videos["x"].segments
    if "list of labels" not in find_format(name).keeps:
        assert back.labels == label_order(RICH.videos.values())


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_what_a_format_has_no_place_for_is_counted(name):
    lost = [f"{part} ({count})" for part, count in COUNTS.items() if part not in find_format(name).keeps]
    stated = f"format {find_format(name).name!r} has no place for: {', '.join(lost)}"
    assert find_format(name).losses(RICH) == ((stated,) if lost else ())
    assert find_format(name).losses(one(subset="")) == ()


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_an_empty_set_is_read_back_or_refused(tmp_path, name):
    try:
        back = round_trip(AnnotationSet({}, ()), tmp_path, name)
    except AnnotationError:
        assert name in ("thumos14", "eaf", "label_studio", "vtrace") and list(tmp_path.iterdir()) == []
    else:
        assert (dict(back.videos), back.labels) == ({}, ())


HOSTILE = [
    *("../../etc/passwd", "/abs", "..", ".hidden", "a/b\\c", "CON", "C:out", "x" * 400, "é\n'\"<&", "a\rb"),
    *(
        " lead",
        "trail\t",
        "tab\there",
        "a --> b",
        "]]>",
        "a;b",
        "a,b",
        "0.5",
        "#1",
        "=1+1",
        "\x00",
        "\x1b[0m",
    ),
    *("\u2028", "\ufffe", "avoid", "durations", "Root", "None", "jump 0.873", "jump (2)", "a  b"),
]
# As an id and as a label of every format.
HARMLESS_IDS = ["v_x", "a.b", "P01/P01_11", "x.mp4", "Vidéo-3"]
HARMLESS_LABELS = ["run", "put-down", "Größe", "put cup", "a,b", "x'y", "b(c)"]


def everything_below(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_names_are_read_back_or_refused_and_stay_in_their_place(tmp_path, name):
    for number, hostile in enumerate([*HOSTILE, *HARMLESS_IDS, *HARMLESS_LABELS]):
        for kind, annotations in (("id", one(video_id=hostile)), ("label", one(label=hostile))):
            folder = tmp_path / f"{number}{kind}" / "deep" / "er"
            try:
                back = round_trip(annotations, folder, name)
            except AnnotationError:
                harmless = HARMLESS_IDS if kind == "id" else HARMLESS_LABELS
                assert hostile not in harmless and not folder.exists()
                continue
            assert list(back.videos) == list(annotations.videos), hostile
            (video,) = back.videos.values()
            assert video.segments == annotations.videos[video.id].segments, hostile
            outside = everything_below(tmp_path / f"{number}{kind}") - {"deep", "deep/er"}
            assert all(p.startswith("deep/er/") for p in outside)
    assert all(re.fullmatch(r"\d+(id|label)", p.name) for p in tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_names_that_are_none_are_refused(tmp_path, name):
    for bad in ("", "  ", "\ud800"):
        for annotations in (one(video_id=bad), one(label=bad)):
            with pytest.raises(AnnotationError, match=r"is not a name|not valid Unicode"):
                write_annotations(annotations, tmp_path / place(name), name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"nothing of the kind\n", b"\xff\xfe\x00", b"[]", b'{"a": 1}', b'{"x": {"actions": 3}}',
     b"<a/>", b"some,thing\n1,2\n", b"some\tthing\n1\t2\n", b"a\x00b\x00\n", b'"open, quote\n'],
)  # fmt: skip
def test_files_without_the_marks_of_the_format_are_refused(tmp_path, name, content):
    path = tmp_path / f"x{Path(place(name)).suffix}"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match="x"):
        read_annotations(path, name)


@pytest.mark.parametrize("name", sorted(BY_NAME))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_annotation_errors_or_are_read(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp(name)
    write_annotations(one(duration_s=5.0), folder / place(name), name)
    path = next(p for p in sorted(folder.rglob("*")) if p.is_file())
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 6)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=3)) + content[stop:])
    try:
        back = read_annotations(folder / place(name), name)
    except AnnotationError:
        return
    assert all(v.id == i for i, v in back.videos.items())


@pytest.mark.parametrize("name", sorted(f.name for f in BY_NAME.values()))
def test_formats_are_told_from_their_content(tmp_path, name):
    write_annotations(one(duration_s=5.0), tmp_path / place(name), name)
    assert detect_format(tmp_path / place(name)).name == name


@pytest.mark.parametrize("name", sorted(PREDICTION_FILES))
def test_detections_are_read_back_as_annotations_or_predictions(tmp_path, name):
    labels = ["jump", "jump (2)", "run 0.5", "élan & co", "two\nlines", 'q"uo,te', "tab\there"]
    detections = [
        Detection("x", i / 3, i / 3 + 1.2345, label, 0.9 - i / 100)
        for i, label in enumerate([*labels, "run"])
    ]
    path = tmp_path / (
        f"x{PREDICTION_FILES[name].ending}"
        if PREDICTION_FILES[name].file_per_video
        else PREDICTION_FILES[name].ending
    )
    PREDICTION_FILES[name].write(detections, {"x": tmp_path / "v" / "x.mp4"}, path)
    expected = sorted((d.label, d.start_s, d.end_s) for d in detections)
    if name in ("json", "csv"):
        frame = read_predictions(path)
        rows = [tuple(r) for r in frame[["label", "start_s", "end_s"]].itertuples(index=False)]
        assert sorted(rows) == expected
        assert sorted(frame["score"]) == sorted(d.score for d in detections)
    if name == "json":
        return  # a results file: it has no annotations
    if SCORED[name].read is None:
        with pytest.raises(AnnotationError, match="subtitles; write a table with the columns video"):
            read_annotations(path)
        return
    back = read_annotations(path)
    assert (back.format, list(back.videos)) == (SCORED[name].name, ["x"])
    rows = sorted((s.label, s.start_s, s.end_s) for s in back.videos["x"].segments)
    assert [r[0] for r in rows] == [r[0] for r in expected]
    for mine, theirs in zip(expected, rows, strict=True):
        assert theirs[1:] == pytest.approx(mine[1:], abs=SCORED[name].precision_s / 2 * 1.0002, rel=0)


def test_the_registry_is_sound():
    every_name = [name for f in FORMATS for name in f.names]
    every_suffix = [suffix for f in FORMATS for suffix in f.suffixes]
    assert len(set(every_name)) == len(every_name) and len(set(every_suffix)) == len(every_suffix)
    assert {f.name for f in FORMATS} - {f.name for f in BY_NAME.values()} == {"srt", "vtt"}
    assert COUNTS.keys() == VALUES.keys() == PARTS.keys()
    with pytest.raises(AnnotationError, match="no annotation format 'srt'"):
        read_annotations("x.srt", "srt")
    with pytest.raises(AnnotationError, match="unknown format 'docx'; formats are json"):
        prediction_files(["json", "docx"])
    assert [f.name for f in prediction_files(["vtt", "json", "vtt"])] == ["json", "vtt"]


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.json", "activitynet"), ("a.CSV", "table"), ("a.tsv", "table"), ("a.txt", "elan"), ("a", "thumos14"),
     ("a.eaf", "eaf")],
)  # fmt: skip
def test_the_suffix_says_what_is_written(file, name):
    assert default_format(Path(file)).name == name


def table_rows(page, heading):
    """Cells of every row of the first table below a heading, without its own head."""
    table = (DOCS / page).read_text().split(f"{heading}\n", 1)[1].split("\n|---", 1)[1].split("\n\n", 1)[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[1:]]
    return [[cell.strip() for cell in cells] for cells in rows]


def test_the_documented_table_is_the_registry():
    def of(f):
        precision = f"{f.precision_s * 1000:g} ms" if f.precision_s else "every digit"
        scores = f"`--format {f.predictions.name}`" if f.predictions is not None else "no"
        return [list(f.names), precision, scores, ", ".join(f.drops)]

    documented = [
        [re.findall("`([^`]*)`", cells[0]), *cells[2:]]
        for cells in table_rows("annotations.md", "## Formats")
    ]
    assert sorted(documented) == sorted(of(f) for f in FORMATS if f.read is not None)


@pytest.mark.parametrize(
    ("page", "heading"), [("predict.md", "## What is written"), ("report.md", "# Exports")]
)
def test_the_documented_prediction_formats_are_the_registry(page, heading):
    documented = {
        name: cells[1] for cells in table_rows(page, heading) for name in re.findall("`([^`]*)`", cells[0])
    }
    assert documented.keys() == PREDICTION_FILES.keys()
    for name, cell in documented.items():
        files = PREDICTION_FILES[name]
        assert files.ending in cell or (files.file_per_video and "one file per video" in cell)


def test_a_set_that_was_read_is_written_with_what_was_ignored(tmp_path):
    video = replace(one().videos["x"], ignored=(Segment(3.0, 4.0, "Ambiguous"),))
    for name in BY_NAME:
        path = tmp_path / name / place(name)
        write_annotations(AnnotationSet({"x": video}, ("a",)), path, name)
        back = read_annotations(path, name)
        assert back.labels == ("a",), name
        assert back.videos["x"].ignored == video.ignored, name
