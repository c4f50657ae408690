"""BORIS' project files (.boris): one observation per video, its file, and coded events in seconds.

An action is a state of its label: BORIS takes the events of one subject, behaviour and modifiers in turns for
its START and its STOP. Actions of one label that overlap are of further subjects (``overlap 2``). A score is
in the comment of the START, as ``score=0.87``. Subsets are an independent variable of that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder
from tal.annotations.detection import Detection, by_video, milliseconds
from tal.annotations.files import check_name, describe_json, load_json, path_text
from tal.annotations.formats.base import FileContent, Format, PredictionFiles, refuse_names
from tal.annotations.formats.boris_events import POINT, Event, Findings, add_observation
from tal.annotations.formats.boris_layout import SUBSET, observation_json, project_json
from tal.annotations.formats.boris_media import Media, video_id
from tal.annotations.options import ReadOptions
from tal.annotations.times import to_rate, to_seconds
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError
from tal.shared.files import write_text

_SUFFIX = ".boris"
_KEYS = ("behaviors_conf", "observations")


def _is_project(content: FileContent) -> bool:
    if content.is_folder:
        return False
    found = content.json
    return content.suffix == _SUFFIX or (isinstance(found, dict) and set(_KEYS) <= found.keys())


def read_boris_project(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a project: times are those of the media files, as in BORIS' tables (`boris`).

    Raises
    ------
    AnnotationError
        it is not a project, a state never stops, or nothing says in which file an event is; the message
        names the observation.
    """
    project = load_json(path)
    if not isinstance(project, dict) or not all(isinstance(project.get(key), dict) for key in _KEYS):
        raise AnnotationError(
            f"{path}: not a BORIS project, which has the objects {' and '.join(map(repr, _KEYS))}; it is "
            f"{describe_json(project)}"
        )
    states = _states(project["behaviors_conf"], path.name)
    build, found = Builder(path.name, options), Findings()
    for name, entry in project["observations"].items():
        where = f"{path.name}: observation {name!r:.80}"
        entry = _object(entry, where)
        if entry.get("type") == "IMAGES":
            build.leave("events coded from pictures", len(_list(entry.get("events", []), where)))
            continue
        if entry.get("media_creation_date_as_offset"):
            raise AnnotationError(
                f"{where}: its times count from the date of its media file; in BORIS edit the observation, "
                "without 'Use the media creation date/time', and code it anew, or delete it from a copy"
            )
        events = list(_events(entry, states, where, build, found))
        variables = _object(entry.get("independent_variables") or {}, where)
        subset = str(variables.get(SUBSET) or "") or options.subset
        add_observation(name, _media(entry, where), events, build, found, subset=subset)
    build.notes += found.notes()
    return build.build("boris_project", [code for code, is_state in states.items() if is_state])


def _states(behaviors: Mapping[str, Any], source: str) -> dict[str, bool]:
    """Code of each behaviour in the ethogram's order -> whether it is a state."""
    states = {}
    for number, entry in behaviors.items():
        where = f"{source}: behaviour {number!r:.80}"
        entry = _object(entry, where)
        check_name(entry.get("code"), f"{where}: code")
        states[entry["code"]] = str(entry.get("type", "")).lower().startswith("state")
    return states


def _events(
    entry: Mapping[str, Any], states: Mapping[str, bool], where: str, build: Builder, found: Findings
) -> Iterator[Event]:
    """States of an observation, which a second event of their subject, behaviour and modifiers ends."""
    opened: dict[tuple[str, str, str], float] = {}
    timed = []
    for event in _list(entry.get("events", []), where):
        if not isinstance(event, list) or len(event) < 4 or not isinstance(event[2], str):
            raise AnnotationError(
                f"{where}: {str(event)[:60]!r} is not an event [time, subject, behaviour, modifiers]"
            )
        timed.append((to_seconds(event[0], f"{where}: an event"), event))
    for time_s, (_, subject, code, modifiers, *_) in sorted(timed, key=lambda item: item[0]):
        found.modified += bool(modifiers)
        key = (str(subject), code, str(modifiers))
        if code not in states:
            build.leave("events of behaviours that the ethogram does not have")
        elif not states[code]:
            build.leave(POINT)
        elif key in opened:
            yield Event(where, code, opened.pop(key), time_s)
        else:
            opened[key] = time_s
    for (_, code, _), time_s in opened.items():
        raise AnnotationError(
            f"{where}: {code!r:.60} starts at {time_s:g} s and never stops; in BORIS choose Observations > "
            "Fix unpaired events, and save the project"
        )


def _media(entry: Mapping[str, Any], where: str) -> Media:
    """The files of an observation; none of a live one."""
    info = _object(entry.get("media_info") or {}, where)
    lengths, rates = (_object(info.get(key) or {}, where) for key in ("length", "fps"))
    files = entry.get("file") or {}
    if isinstance(files, list):  # of versions before 3
        files = {str(number): names for number, names in enumerate(files, 1)}
    players = [_list(names, f"{where}: files") for names in _object(files, f"{where}: files").values()]
    for name in (name for names in players for name in names):
        check_name(name, f"{where}: a media file")
    names, *others = players or [[]]
    offset = entry.get("time offset")
    return Media(
        0.0 if offset is None else to_seconds(offset, f"{where}: time offset"),
        names,
        [None if lengths.get(n) is None else to_seconds(lengths[n], f"{where}: length") for n in names],
        [None if rates.get(n) is None else to_rate(rates[n], f"{where}: fps") for n in names],
        [name for further in others for name in further],
    )


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnnotationError(f"{where}: {str(value)[:60]!r} is not an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise AnnotationError(f"{where}: {str(value)[:60]!r} is not a list")
    return value


def write_boris_project(annotations: AnnotationSet, path: Path) -> None:
    """Write a project, times to the millisecond; observations and their files (``ID.mp4``) are named after
    the videos: BORIS looks for the files beside the project.

    Raises
    ------
    AnnotationError
        a name or time cannot be held.
    """
    refuse_names(
        annotations.videos, lambda name: video_id(_file_of(name), name) == name, "no file is named after"
    )
    observations = {}
    for name, video in annotations.videos.items():
        if early := [s for s in video.all_segments if s.start_s < 0]:
            raise AnnotationError(
                f"BORIS' projects hold no time before 0: {early[0].label!r} of video {name!r} starts at "
                f"{early[0].start_s} s"
            )
        states = [
            (s.label, *milliseconds(s.start_s, s.end_s), "") for s in video.all_segments if s.duration_s > 0
        ]
        observations[name] = observation_json(
            _file_of(name), states, video.subset, video.duration_s, video.fps
        )
    labels = dict.fromkeys([*annotations.labels, *annotations.used_labels])
    write_text(path, project_json(path.stem, labels, observations))


def write_boris_predictions(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write detections: each video's observation refers to its file."""
    observations = {}
    for name, own in by_video(detections, videos).items():
        states = [(d.label, *d.milliseconds, f"score={d.score:.6g}") for d in own]
        file = path_text(videos[name].absolute()) if name in videos else _file_of(name)
        observations[name] = observation_json(file, states)
    labels = sorted({d.label for d in detections})
    write_text(path, project_json("longtal predictions", labels, observations))


def _file_of(name: str) -> str:
    return f"{name}.mp4"


FORMAT = Format(
    "boris_project",
    "BORIS project: an observation per video, with its file",
    read_boris_project,
    write_boris_project,
    detect=_is_project,
    suffixes=(_SUFFIX,),
    precision_s=1e-3,
    keeps=("subsets", "durations", "frame rates", "videos without a segment", "list of labels"),
    predictions=PredictionFiles("boris_project", "predictions.boris", write_boris_predictions),
)
