"""BORIS' project files: read as BORIS' users leave them, written so that BORIS opens them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import (
    AnnotationSet,
    Detection,
    Segment,
    VideoAnnotation,
    read_annotations,
    write_annotations,
)
from tal.annotations.formats.registry import PREDICTION_FILES
from tal.errors import AnnotationError

ETHOGRAM = [("eat", "State event"), ("sneeze", "Point event"), ("run", "State event with coding map")]


def project(tmp_path, name="p.boris", ethogram=ETHOGRAM, **observations):
    """A project as BORIS 8 saves it; an observation's keys that are not given are those of a new one."""
    default = {"type": "MEDIA", "date": "2024-05-01T10:00:00", "description": "", "time offset": 0.0}
    default |= {"file": {"1": ["/d/cow.mp4"], "2": []}, "events": [], "independent_variables": {}}
    default |= {
        "media_info": {"length": {"/d/cow.mp4": 60.0}, "fps": {"/d/cow.mp4": 25.0}, "offset": {"1": 0.0}}
    }
    content = {
        "time_format": "hh:mm:ss",
        "project_format_version": "7.0",
        "subjects_conf": {"0": {"key": "a", "name": "A", "description": ""}},
        "behaviors_conf": {
            str(i): {"type": kind, "key": code[0], "code": code, "modifiers": {}, "category": ""}
            for i, (code, kind) in enumerate(ethogram)
        },
        "observations": {key: {**default, **more} for key, more in observations.items()},
    }
    (tmp_path / name).write_text(json.dumps(content))
    return tmp_path / name


def found(annotations):
    return {v.id: [(s.start_s, s.end_s, s.label) for s in v.segments] for v in annotations.videos.values()}


@pytest.mark.parametrize("name", ["p.boris", "p.json"])
def test_events_pair_by_subject_behaviour_and_modifiers(tmp_path, name):
    events = [
        [1.0, "A", "eat", "grass", "", 25],
        [2.0, "B", "eat", "", "", 50],
        [2.5, "", "sneeze", "", ""],
        [3.0, "A", "eat", "hay", "", 75],
        [4.0, "A", "eat", "grass", "", 100],
        [5.0, "B", "eat", "", "", 125],
        [6.0, "A", "eat", "hay", "", 150],
        [7.0, "", "gone", "", ""],
    ]
    annotations = read_annotations(project(tmp_path, name, monday={"events": events[::-1]}))
    assert annotations.format == "boris_project"
    assert sorted(found(annotations)["cow"]) == [(1, 4, "eat"), (2, 5, "eat"), (3, 6, "eat")]
    video = annotations.videos["cow"]
    assert (video.duration_s, video.fps, annotations.labels) == (60.0, 25.0, ("eat", "run"))
    assert annotations.account.left == {
        "point events": 1,
        "events of behaviours that the ethogram does not have": 1,
    }
    assert "4 events have modifiers, which are not part of labels" in annotations.notes


def test_offsets_queues_cameras_live_observations_and_pictures(tmp_path):
    def state(start, end):
        return [[start, "", "eat", "", ""], [end, "", "eat", "", ""]]

    queue = {
        "file": {"1": ["/d/A.mp4", "/d/B.mp4"], "2": ["/d/side.mp4"]},
        "media_info": {"length": {"/d/A.mp4": 5.0, "/d/B.mp4": 30.0}, "fps": {}},
        "time offset": 10.0,
        "events": [*state(11, 13), *state(14, 17)],
    }
    path = project(
        tmp_path,
        queue=queue,
        live={"type": "LIVE", "file": [], "media_info": {}, "events": state(1, 2)},
        stills={"type": "IMAGES", "file": {}, "events": [["NA", "", "eat", "", "", 3, "a.png"]]},
        tuesday={"events": state(3, 4), "independent_variables": {"subset": "test"}},
    )
    annotations = read_annotations(path, subset="mine")
    assert found(annotations) == {
        "A": [(1, 3, "eat"), (4, 5, "eat")],
        "B": [(0, 2, "eat")],
        "live": [(1, 2, "eat")],
        "cow": [(3, 4, "eat")],
    }
    assert annotations.subsets == {"mine": 3, "test": 1}
    notes = " ".join(annotations.notes)
    assert "time offset of 1 observations is subtracted" in notes and "'/d/side.mp4'" in notes
    assert annotations.account.left == {"events coded from pictures": 1}


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (
            {"events": [[1.0, "", "eat", "", ""]]},
            "'eat' starts at 1 s and never stops; .*Fix unpaired events",
        ),
        ({"events": [["soon", "", "eat", "", ""]]}, "'soon' is not a time"),
        ({"events": [[1.0, "", 3, ""]]}, "is not an event"),
        ({"events": {}}, "is not a list"),
        ({"file": {"1": [3]}}, "is a number, not a name"),
        ({"media_info": []}, None),
        ({"media_info": ["a"]}, "is not an object"),
        ({"media_creation_date_as_offset": True}, "count from the date of its media file"),
        (
            {"file": {"1": ["a.mp4", "b.mp4"]}, "events": [[1, "", "eat", ""], [2, "", "eat", ""]]},
            "several media files",
        ),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path, observation, message):
    path = project(tmp_path, monday=observation)
    if message is None:
        assert list(read_annotations(path).videos) == ["cow"]
        return
    with pytest.raises(AnnotationError, match=message) as error:
        read_annotations(path)
    assert "observation 'monday'" in str(error.value)


def test_a_code_that_is_no_name_and_other_files_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="behaviour '0': code"):
        read_annotations(project(tmp_path, ethogram=[(" ", "State event")]))
    (tmp_path / "q.boris").write_text('{"observations": {}}')
    with pytest.raises(AnnotationError, match="not a BORIS project, which has the objects 'behaviors_conf'"):
        read_annotations(tmp_path / "q.boris")


def boris_states(observation, ethogram):
    """START and STOP as BORIS finds them: of one subject, code and modifiers, every second event stops."""
    kinds = {entry["code"]: entry["type"] for entry in ethogram.values()}
    states, opened = [], {}
    for time, subject, code, modifier, comment, _frame in sorted(observation["events"]):
        assert kinds[code] == "State event"
        key = (subject, code, modifier)
        if key in opened:
            states.append((code, opened[key][0], time, opened.pop(key)[1]))
        else:
            opened[key] = (time, comment)
    assert not opened, "unpaired"
    return sorted(states)


times = st.floats(0, 60).map(lambda x: round(x, 3))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(times, st.sampled_from([0.001, 0.5, 2.0, 30.0]), st.sampled_from("ab")), max_size=9)
)
def test_overlapping_detections_pair_as_they_were_in_boris_too(tmp_path_factory, spans):
    folder = tmp_path_factory.mktemp("boris")
    detections = [Detection("P1/v", s, s + d, label, 1 / (i + 2)) for i, (s, d, label) in enumerate(spans)]
    path = folder / "predictions.boris"
    video = folder / "P1" / "v.mkv"
    PREDICTION_FILES["boris_project"].write(detections, {"P1/v": video, "w": folder / "w.mp4"}, path)
    content = json.loads(path.read_text())
    assert content["project_format_version"] == "7.0"
    assert list(content["observations"]) == ["P1/v", "w"]
    observation = content["observations"]["P1/v"]
    assert (observation["type"], observation["file"]["1"]) == ("MEDIA", [str(video)])
    expected = sorted(
        (d.label, d.milliseconds[0] / 1000, d.milliseconds[1] / 1000, f"score={d.score:.6g}")
        for d in detections
    )
    assert [s[:3] for s in boris_states(observation, content["behaviors_conf"])] == [e[:3] for e in expected]
    assert sorted(e[4] for e in observation["events"] if e[4]) == sorted(e[3] for e in expected)
    subjects = {event[1] for event in observation["events"]} - {""}
    assert {entry["name"] for entry in content["subjects_conf"].values()} == subjects
    back = read_annotations(path, keep_duplicates=True)
    assert sorted((s.label, s.start_s, s.end_s) for s in back.videos["P1/v"].segments) == [
        e[:3] for e in expected
    ]


def test_keys_of_behaviours_are_their_own(tmp_path):
    labels = [f"jump {i}" for i in range(40)]
    write_annotations(AnnotationSet({}, tuple(labels)), tmp_path / "p.boris", "boris_project")
    ethogram = json.loads((tmp_path / "p.boris").read_text())["behaviors_conf"]
    keys = [entry["key"] for entry in ethogram.values() if entry["key"]]
    assert [entry["code"] for entry in ethogram.values()] == labels
    assert len(keys) == len(set(keys)) == 36 and keys[:4] == ["j", "u", "m", "p"]


def test_what_a_project_cannot_hold_is_refused(tmp_path):
    early = AnnotationSet({"x": VideoAnnotation("x", "test", (Segment(-1.0, 1.0, "a"),))}, ("a",))
    with pytest.raises(AnnotationError, match="no time before 0"):
        write_annotations(early, tmp_path / "p.boris", "boris_project")
    odd = AnnotationSet({"x/": VideoAnnotation("x/", "test", ())}, ())
    with pytest.raises(AnnotationError, match="no file is named after: 'x/'"):
        write_annotations(odd, tmp_path / "p.boris", "boris_project")
    assert list(tmp_path.iterdir()) == []
