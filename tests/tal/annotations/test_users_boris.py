"""BORIS as laboratories use it: offsets, queues of files, cameras, live observations, versions 7 to 9."""

import pytest

from tal.annotations import read_annotations
from tal.errors import AnnotationError

TABULAR = [
    "Observation id",
    "Observation date",
    "Description",
    "Observation duration",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Media duration (s)",
    "FPS",
    "Subject",
    "Behavior",
    "Behavioral category",
    "Modifier #1",
    "Behavior type",
    "Time",
    "Media file name",
    "Image index",
    "Image file path",
    "Comment",
]
AGGREGATED = [
    "Observation id",
    "Observation date",
    "Description",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Coding duration",
    "Media duration (s)",
    "FPS (frame/s)",
    "Subject",
    "Observation duration by subject by observation",
    "Behavior",
    "Behavioral category",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Media file name",
    "Image index start",
    "Image index stop",
    "Image file path start",
    "Image file path stop",
    "Comment start",
    "Comment stop",
]
ALIASES = {
    "obs": "Observation id",
    "source": "Source",
    "offset": "Time offset (s)",
    "dur": "Media duration (s)",
    "who": "Subject",
    "what": "Behavior",
    "mod": "Modifier #1",
    "type": "Behavior type",
    "t": "Time",
    "file": "Media file name",
    "start": "Start (s)",
    "stop": "Stop (s)",
    "kind": "Observation type",
}
DEFAULTS = {"obs": "o", "what": "jump", "offset": "0", "who": "No focal subject", "kind": "Media file(s)"}
QUEUE = {"source": "player #1:/d/A.mp4;/d/B.mp4", "dur": "5.000;30.000"}


def read(tmp_path, *rows, header=TABULAR, separator="\t", **common):
    path = tmp_path / "t.tsv"
    lines = [separator.join(header)]
    for row in rows:
        cells = {ALIASES[name]: value for name, value in {**DEFAULTS, **common, **row}.items()}
        lines.append(separator.join(str(cells.get(column, "")) for column in header))
    path.write_text("\n".join(lines) + "\n")
    return read_annotations(path)


def state(start, stop, **more):
    files = more.pop("files", ("", ""))
    return [{"type": kind, "t": t, "file": file, **more} for kind, t, file in
            (("START", start, files[0]), ("STOP", stop, files[1]))]  # fmt: skip


def found(annotations):
    return {v.id: [(s.start_s, s.end_s, s.label) for s in v.segments] for v in annotations.videos.values()}


def test_the_offset_is_subtracted_and_said(tmp_path):
    annotations = read(tmp_path, *state(11, 13), source="player #1:/d/B.mp4", dur="30.000", offset="10")
    assert found(annotations) == {"B": [(1.0, 3.0, "jump")]}
    assert "the time offset of 1 observations is subtracted: 'o'" in annotations.notes
    assert annotations.videos["B"].duration_s == 30.0


def test_an_event_belongs_to_the_file_of_the_queue_that_shows_it(tmp_path):
    annotations = read(tmp_path, *state(1, 3), *state(7, 9), **QUEUE)
    assert found(annotations) == {"A": [(1.0, 3.0, "jump")], "B": [(2.0, 4.0, "jump")]}
    assert [v.duration_s for v in annotations.videos.values()] == [5.0, 30.0]
    annotations = read(tmp_path, *state(17, 19), **QUEUE, offset=10)
    assert found(annotations) == {"A": [], "B": [(2.0, 4.0, "jump")]}


def test_files_of_the_queue_may_be_named_by_events_alone(tmp_path):
    rows = [*state(1, 3, files=("/d/A.mp4",) * 2), *state(7, 9, files=("/d/B.mp4",) * 2)]
    assert found(read(tmp_path, *rows, dur="5.000;30.000")) == {
        "A": [(1.0, 3.0, "jump")],
        "B": [(2.0, 4.0, "jump")],
    }
    rows = [*state(1, 3, files=("/d/B.mp4",) * 2), *state(2, 4, files=("/d/A.mp4",) * 2, what="kick")]
    with pytest.raises(AnnotationError, match="Media duration"):
        read(tmp_path, *rows, dur="5.000;30.000")


def test_the_file_that_boris_names_is_not_trusted_at_the_border_of_two(tmp_path):
    """At the very begin of a file BORIS 8.9 names the one before, or "Not found" (its issue 567)."""
    rows = [*state(0, 2, files=("Not found", "/d/A.mp4")), *state(5, 6, files=("/d/A.mp4", "/d/B.mp4"))]
    expected = {"A": [(0.0, 2.0, "jump")], "B": [(0.0, 1.0, "jump")]}
    assert found(read(tmp_path, *rows, **QUEUE)) == expected
    rows += state(7, 8, files=("/d/B.mp4",) * 2, what="kick")
    rows += state(1, 2, files=("/d/A.mp4",) * 2, what="kick")
    assert found(read(tmp_path, *rows, dur="5.000;30.000"))["B"] == [(0.0, 1.0, "jump"), (2.0, 3.0, "kick")]


def test_an_event_without_a_file_that_boris_finds_is_of_the_only_one(tmp_path):
    rows = state(1, 3, files=("Not found", "Not found"))
    assert found(read(tmp_path, *rows, source="player #1:/d/A.mp4", dur="5.000")) == {
        "A": [(1.0, 3.0, "jump")]
    }


def test_a_state_over_the_end_of_a_file_is_in_both(tmp_path):
    annotations = read(tmp_path, *state(4, 8), **QUEUE)
    assert found(annotations) == {"A": [(4.0, 5.0, "jump")], "B": [(0.0, 3.0, "jump")]}
    assert "1 states run over the end of a media file" in annotations.notes[0]


def test_what_is_after_all_files_is_left_and_counted(tmp_path):
    annotations = read(tmp_path, *state(40, 43), *state(34, 35.2), **QUEUE)
    assert found(annotations)["B"] == [(29.0, pytest.approx(30.2), "jump")]  # durations are rounded
    assert annotations.account.left == {"events after the end of their media files": 1}


def test_other_cameras_are_named(tmp_path):
    source, durations = "player #1:/d/A.mp4;/d/B.mp4|player #2:/d/C.mp4", "5.000;30.000|35.000"
    annotations = read(tmp_path, *state(1, 3), *state(7, 9), source=source, dur=durations)
    assert found(annotations) == {"A": [(1.0, 3.0, "jump")], "B": [(2.0, 4.0, "jump")]}
    assert "1 files show other cameras" in annotations.notes[0] and "'/d/C.mp4'" in annotations.notes[0]


def test_a_file_name_with_semicolons(tmp_path):
    annotations = read(tmp_path, *state(1, 3), source="player #1:/d/a;b.mp4", dur="5.000")
    assert found(annotations) == {"a;b": [(1.0, 3.0, "jump")]}


@pytest.mark.parametrize("file", ["NA", "LIVE", "", "Not found"])
def test_a_live_observation_is_called_by_its_id(tmp_path, file):
    more = {"kind": "Live observation", "source": "NA", "dur": "NA", "files": (file, file)}
    annotations = read(tmp_path, *state(1, 3, obs="o1", **more), *state(2, 4, obs="o2", **more))
    assert found(annotations) == {"o1": [(1.0, 3.0, "jump")], "o2": [(2.0, 4.0, "jump")]}


def test_start_and_stop_pair_within_observation_subject_and_modifiers(tmp_path):
    one = {"source": "player #1:/d/A.mp4", "dur": "60"}
    rows = [{"type": kind, "t": t, "who": who} for kind, who, t in
            (("START", "a", 1), ("START", "b", 2), ("STOP", "a", 4), ("STOP", "b", 3.5))]  # fmt: skip
    assert sorted(found(read(tmp_path, *rows, **one))["A"]) == [(1.0, 4.0, "jump"), (2.0, 3.5, "jump")]
    rows = [{"type": kind, "t": t, "mod": mod} for kind, mod, t in
            (("START", "x", 1), ("START", "y", 2), ("STOP", "x", 4), ("STOP", "y", 3.5))]  # fmt: skip
    annotations = read(tmp_path, *rows, **one)
    assert sorted(found(annotations)["A"]) == [(1.0, 4.0, "jump"), (2.0, 3.5, "jump")]
    assert "4 events have modifiers, which are not part of labels" in annotations.notes
    rows = [*state(1, 3, obs="o1"), *state(2, 4, obs="o2")]
    annotations = read(tmp_path, rows[0], rows[2], rows[1], rows[3], **one)
    assert found(annotations)["A"] == [(1.0, 3.0, "jump"), (2.0, 4.0, "jump")]
    assert "1 videos are in several observations, whose actions are taken together: 'A'" in annotations.notes


def test_a_start_without_a_stop_says_what_to_choose_in_boris(tmp_path):
    with pytest.raises(
        AnnotationError, match=r"line 2: 'jump' starts and never stops; .*Fix unpaired events"
    ):
        read(tmp_path, {"type": "START", "t": 1}, source="player #1:/d/A.mp4", dur="60")
    with pytest.raises(AnnotationError, match="line 2: 'STOP' of 'jump' does not fit"):
        read(tmp_path, {"type": "STOP", "t": 1}, source="player #1:/d/A.mp4", dur="60")


def test_decimal_commas_in_every_number(tmp_path):
    rows = state("11,750", "13,5")
    annotations = read(
        tmp_path, *rows, source="player #1:/d/A.mp4", dur="35,000", offset="10,5", separator=";"
    )
    assert found(annotations) == {"A": [(1.25, 3.0, "jump")]}
    assert annotations.videos["A"].duration_s == 35.0
    header = [name for name in TABULAR if name != "Source"]
    annotations = read(
        tmp_path, *state("7,250", "9,0", files=("B.mp4",) * 2), dur="5,000;30,000", header=header
    )
    assert found(annotations) == {"B": [(2.25, 4.0, "jump")]}


def test_aggregated_events_of_version_9(tmp_path):
    rows = [
        {"type": "STATE", "start": "7.000", "stop": "9.000"},
        {"type": "POINT", "start": "7.5", "stop": "7.5"},
    ]
    pictures = {
        "obs": "p",
        "kind": "From pictures",
        "source": "dir; ",
        "dur": "NA",
        "start": "NA",
        "stop": "NA",
    }
    annotations = read(tmp_path, *rows, {"type": "STATE", **pictures}, header=AGGREGATED, **QUEUE)
    assert found(annotations) == {"A": [], "B": [(2.0, 4.0, "jump")]}
    assert annotations.account.taken == 1
    assert annotations.account.left == {"point events": 1, "events without a time": 1}
    rows[0]["stop"] = ""
    assert read(tmp_path, *rows, header=AGGREGATED, **QUEUE).account.left["events without a time"] == 1


OLD = "Observation id\tMedia file\tTotal length\tFPS\tBehavior\tBehavior type\tStart (s)\tStop (s)\n"


def test_aggregated_events_of_version_7(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(OLD + "o\tA.mp4\t540\t25.0\ts\tSTATE\t1.8\t8.1\n")
    annotations = read_annotations(path)
    assert (found(annotations), annotations.videos["A"].duration_s) == ({"A": [(1.8, 8.1, "s")]}, 540.0)
    path.write_text(path.read_text() + "o\tB.mp4\t540\t25.0\ts\tSTATE\t227\t253\n")
    with pytest.raises(AnnotationError, match=r"several media files.*Observations > Export events > Tabular"):
        read_annotations(path)  # "Total length" is that of both: nothing says when B begins


def test_lines_above_the_events_of_version_7(tmp_path):
    path = tmp_path / "t.csv"
    top = "Observation id,obs 1,,\n,,,\nMedia file(s),,,\nPlayer #1,cow.mp4,,\nTime offset (s),10.0,,\n,,,\n"
    head = "Time,Media file path,Total length,FPS,Subject,Behavior,Comment,Status\n"
    rows = "11.0,cow.mp4,60,25,A,eat,,START\n13,cow.mp4,60,25,A,eat,,STOP\n"
    path.write_text(top + head + rows)
    assert found(read_annotations(path)) == {"cow": [(1.0, 3.0, "eat")]}
    path.write_text(top.replace("Time offset", "Player #1,calf.mp4,,\nTime offset") + head + rows)
    with pytest.raises(AnnotationError, match="several media files"):
        read_annotations(path)
    live = top.replace("Player #1,cow.mp4,,\n", "") + head + rows.replace("cow.mp4", "LIVE")
    path.write_text(live)
    assert list(read_annotations(path).videos) == ["obs 1"]
