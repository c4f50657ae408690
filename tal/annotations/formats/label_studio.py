"""Label Studio's tasks (Export > JSON) with ``TimelineLabels``, and ``Labels`` in seconds.

Its timeline counts frames from 1, and both ends of a range belong to it: frames 3 to 5 of a timeline with 10
a second are the time from 0.2 s to 0.5 s. These frames are not the file's: Label Studio multiplies the time
by the ``framerate`` of the project's ``Video`` tag, whatever the file has. So a task's data say the rate
(``framerate``, or ``fps``), or the caller hands in the time of every frame, or the rate.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tal.annotations.builder import Builder, first_ids
from tal.annotations.detection import Detection, by_video
from tal.annotations.files import describe_json, load_json, path_text
from tal.annotations.formats.base import FileContent, Format, PredictionFiles
from tal.annotations.ids import VIDEO_SUFFIXES
from tal.annotations.options import ReadOptions
from tal.annotations.times import to_rate, to_seconds
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError
from tal.shared.files import write_text

# Frames a second of the timeline where the video's own rate is not known.
_RATE = 100.0
_RATE_KEYS = ("framerate", "frameRate", "frame_rate", "fps")
# What Label Studio puts before the name of a file that was uploaded.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
_FROM, _TO = "actions", "video"


class _Spans(NamedTuple):
    """How frames of a task become seconds."""

    rate: float | None
    times_s: Sequence[float] | None

    def seconds(self, first: Any, last: Any, where: str) -> tuple[float, float]:
        """The time from the begin of one frame to the end of another, both counted from 1."""
        if not all(isinstance(f, int | float) and not isinstance(f, bool) and f >= 1 for f in (first, last)):
            raise AnnotationError(
                f"{where}: frames {str(first)[:20]} to {str(last)[:20]}: Label Studio counts frames from 1"
            )
        if self.rate:
            return to_seconds(first - 1, where) / self.rate, to_seconds(last, where) / self.rate
        if self.times_s is None:
            raise AnnotationError(
                f"{where}: its times are frames, and nothing says how many a second: write the frameRate of "
                "the project's Video tag (24 where it has none) into the task's 'data' as \"framerate\", or "
                "give it to `longtal annotations convert --frame-rate`"
            )
        begins = self.times_s
        if len(begins) < 2 or max(first, last) > len(begins) or first % 1 or last % 1:
            raise AnnotationError(
                f"{where}: frames {first} to {last} of a video with {len(begins)} time stamps"
            )
        end_s = begins[int(last)] if last < len(begins) else 2 * begins[-1] - begins[-2]
        return float(begins[int(first) - 1]), float(end_s)


def _is_tasks(content: FileContent) -> bool:
    return not content.is_folder and is_label_studio(content.json)


def is_label_studio(content: Any) -> bool:
    """Whether parsed JSON is a list of tasks with annotations or predictions."""
    return isinstance(content, list) and any(
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and any(isinstance(task.get(key), list) for key in ("annotations", "predictions"))
        for task in content
    )


def read_label_studio(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read tasks; of several annotations of one task the one marked as ground truth counts, else the last.

    Predictions count where no task of the file has an annotation.

    Raises
    ------
    AnnotationError
        it is something else, or nothing says when a frame is; the message names the task.
    """
    tasks = load_json(path)
    if not is_label_studio(tasks):
        raise AnnotationError(
            f"{path}: not tasks of Label Studio (Export > JSON), which are a list of objects with 'data' and "
            f"'annotations'; it is {describe_json(tasks)}"
        )
    build = Builder(path.name, options)
    judged = any(_versions(task, "annotations") for task in tasks if isinstance(task, dict))
    guessed = []
    for number, task in enumerate(tasks, 1):
        where = f"{path.name}: task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise AnnotationError(f"{where}: {str(task)[:60]!r} has no object 'data'")
        video = _video(task["data"], where, options, build)
        versions = _versions(task, "annotations" if judged else "predictions")
        if not judged and versions:
            guessed.append(video)
        results = [v["result"] for v in versions if v.get("ground_truth")] or [v["result"] for v in versions]
        for version in versions:
            if version["result"] is not results[-1]:
                build.leave("annotations of a task that has others", len(version["result"]))
        rate, times_s = _rate(task["data"], where), options.time_stamps(video)
        spans = _Spans(rate if rate or times_s is not None else options.frame_rate, times_s)
        for result in results[-1] if results else ():
            _read_result(result, spans, f"{where} ({video!r:.60})", video, build)
    if guessed:
        build.notes.append(
            f"{len(guessed)} tasks have predictions alone, taken as annotations: {first_ids(guessed)}"
        )
    return build.build("label_studio")


def _versions(task: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """What was said of a task, by each annotator or model; what was skipped is none."""
    found = task.get(key)
    return [
        version
        for version in (found if isinstance(found, list) else ())
        if isinstance(version, dict)
        and isinstance(version.get("result"), list)
        and not version.get("was_cancelled")
    ]


def _video(data: Mapping[str, Any], where: str, options: ReadOptions, build: Builder) -> str:
    """Add a task's video; its id."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    files = [v for v in texts.values() if _file_name(v).lower().endswith(VIDEO_SUFFIXES)]
    file = texts.get("video") or next(iter(files), "")
    name = texts.get("video_id") or PureWindowsPath(_file_name(file)).stem
    duration, fps = data.get("duration"), data.get("fps")
    if not name.strip():
        raise AnnotationError(f"{where}: its 'data' name no video; the keys are {', '.join(data)[:200]}")
    build.video(
        name,
        texts.get("subset") or options.subset,
        None if duration is None else to_seconds(duration, f"{where}: duration"),
        None if fps is None else to_rate(fps, f"{where}: fps"),
    )
    return name


def _file_name(address: str) -> str:
    """The name of the file that an address of Label Studio's means."""
    try:
        parts = urlsplit(address)
        local = parse_qs(parts.query).get("d") if parts.path.endswith("/local-files/") else None
    except ValueError:
        return ""
    path = local[0] if local else unquote(parts.path) if parts.scheme or parts.query else address
    name = PureWindowsPath(path.replace("/", "\\")).name
    return _UPLOAD.sub("", name) if "/upload/" in parts.path else name


def _rate(data: Mapping[str, Any], where: str) -> float | None:
    key = next((key for key in _RATE_KEYS if data.get(key) not in (None, "")), None)
    if key is None:
        return None
    rate = to_rate(data[key], f"{where}: {key}")
    if rate <= 0:
        raise AnnotationError(f"{where}: {key} {rate:g} is not a frame rate")
    return rate


def _read_result(result: Any, spans: _Spans, where: str, video: str, build: Builder) -> None:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        raise AnnotationError(f"{where}: {str(result)[:60]!r} is not a result with a 'value'")
    if isinstance(labels := value.get("timelinelabels"), list):
        ranges = value.get("ranges")
        if not isinstance(ranges, list) or not all(isinstance(r, dict) for r in ranges):
            raise AnnotationError(f"{where}: 'ranges' is {str(ranges)[:60]!r}, not a list of start and end")
        times = [spans.seconds(r.get("start"), r.get("end"), where) for r in ranges]
    elif isinstance(labels := value.get("labels"), list) and {"start", "end"} <= value.keys():
        times = [(to_seconds(value["start"], where), to_seconds(value["end"], where))]
    else:
        build.leave("results that are not of time (boxes, choices, text)")
        return
    for start_s, end_s in times:
        for label in labels:
            build.segment(video, start_s, end_s, label, where)


def write_label_studio(annotations: AnnotationSet, path: Path) -> None:
    """Write tasks to import, on a timeline of the video's frame rate, or of 100 a second where it has none.

    Raises
    ------
    AnnotationError
        a time is before 0, or there is no video at all.
    """
    if not annotations.videos:
        raise AnnotationError(f"{path}: Label Studio's tasks are videos, and there is none to write")
    tasks = []
    for name, video in annotations.videos.items():
        if early := [s for s in video.all_segments if s.start_s < 0]:
            raise AnnotationError(
                f"Label Studio has no time before 0: {early[0].label!r} of video {name!r} starts at "
                f"{early[0].start_s} s"
            )
        rate = video.fps or _RATE
        results = [
            _result(number, s.start_s, s.end_s, s.label, rate)
            for number, s in enumerate((s for s in video.all_segments if s.duration_s > 0), 1)
        ]
        facts = {"fps": video.fps, "duration": video.duration_s, "subset": video.subset or None}
        about = {key: value for key, value in facts.items() if value is not None}
        tasks.append({"data": _data(name, f"{name}.mp4", rate) | about, "annotations": [{"result": results}]})
    _write(path, tasks)


def write_label_studio_predictions(
    detections: Sequence[Detection], videos: Mapping[str, Path], path: Path
) -> None:
    """Write tasks with predictions, each region with its score."""
    tasks = []
    for name, own in by_video(detections, videos).items():
        results = [
            _result(number, max(0.0, d.start_s), d.end_s, d.label, _RATE) | {"score": d.score}
            for number, d in enumerate(own, 1)
        ]
        file = path_text(videos[name].absolute()) if name in videos else f"{name}.mp4"
        score = max((d.score for d in own), default=0.0)
        predicted = {"model_version": "longtal", "score": score, "result": results}
        tasks.append({"data": _data(name, file, _RATE), "predictions": [predicted]})
    _write(path, tasks)


def _data(name: str, file: str, rate: float) -> dict[str, Any]:
    return {"video": file, "video_id": name, "framerate": rate}


def _result(number: int, start_s: float, end_s: float, label: str, rate: float) -> dict[str, Any]:
    """A region of at least one frame."""
    first = math.floor(start_s * rate + 0.5) + 1
    last = max(first, math.floor(end_s * rate + 0.5))
    return {
        "id": f"r{number}",
        "from_name": _FROM,
        "to_name": _TO,
        "type": "timelinelabels",
        "value": {"ranges": [{"start": first, "end": last}], "timelinelabels": [label]},
    }


def _write(path: Path, tasks: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, json.dumps(list(tasks), indent=1, ensure_ascii=False) + "\n")


FORMAT = Format(
    "label_studio",
    "Label Studio's tasks with TimelineLabels, JSON",
    read_label_studio,
    write_label_studio,
    detect=_is_tasks,
    precision_s=1 / _RATE,
    keeps=("subsets", "durations", "frame rates", "videos without a segment"),
    predictions=PredictionFiles(
        "label_studio", "predictions.label_studio.json", write_label_studio_predictions
    ),
)
