"""BORIS' tabular exports: aggregated events (``Start (s)``, ``Stop (s)``) and plain ones (``START``).

Aggregated events are what is written. A video is named after its media file; or by the observation, where
that is the path's end (``P01/P01_11`` of ``/data/P01/P01_11.mp4``) or there is no media file. Point events
have no length and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tal.annotations.builder import Builder, to_seconds
from tal.annotations.detection import Detection
from tal.annotations.files import path_text
from tal.annotations.formats.base import FileContent, Format, PredictionFiles, refuse_blanks
from tal.annotations.options import ReadOptions
from tal.annotations.rows import dict_rows, read_rows, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

# The columns of BORIS' own "export aggregated events", a row for each state event.
COLUMNS = (
    "Observation id",
    "Observation date",
    "Description",
    "Media file",
    "Total length",
    "FPS",
    "Subject",
    "Behavior",
    "Behavioral category",
    "Modifiers",
    "Behavior type",
    "Start (s)",
    "Stop (s)",
    "Duration (s)",
    "Comment start",
    "Comment stop",
)
_MEDIA = ("Media file name", "Media file path", "Media file")
_DURATION = ("Media duration", "Total length")  # what the column's name begins with
_FPS = ("FPS", "FPS (frame/s)")
# Exports of plain events begin with lines about the observation.
_MAX_LINES_ABOVE = 40


def _is_boris(content: FileContent) -> bool:
    headers = ({c.strip() for c in cells} for _, cells in content.rows[:_MAX_LINES_ABOVE])
    return any(_is_aggregated(header) or _is_events(header) for header in headers)


def _is_aggregated(header: set[str]) -> bool:
    return {"Behavior", "Start (s)", "Stop (s)"} <= header


def _is_events(header: set[str]) -> bool:
    return {"Behavior", "Time"} <= header and bool({"Status", "Behavior type"} & header)


def read_boris(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read either export; lines above the header (observation, date) are skipped.

    Raises
    ------
    AnnotationError
        a column is missing, or an event does not fit those above; names file and line.
    """
    rows = read_rows(path)
    top = next((i for i, (_, cells) in enumerate(rows) if "Behavior" in (c.strip() for c in cells)), None)
    if top is None:
        raise AnnotationError(f"{path}: no column 'Behavior' in it: not a BORIS export")
    header = {c.strip() for c in rows[top][1]}
    build = Builder(path.name, options)
    if _is_aggregated(header):
        points = _aggregated(path, rows[top:], options, build)
    elif _is_events(header):
        points = _events(path, rows[top:], options, build)
    else:
        raise AnnotationError(
            f"{path}: a BORIS export needs 'Start (s)' and 'Stop (s)', or 'Time' and 'Status'"
        )
    if points:
        build.notes.append(f"{points} point events have no length and are left out")
    return build.build("boris")


def _add_video(cells: dict[str, str], path: Path, options: ReadOptions, build: Builder, where: str) -> str:
    name = _video_id(cells) or path.stem
    duration = next((cells[k] for k in cells if k.startswith(_DURATION)), "")
    fps = next((cells[k] for k in _FPS if k in cells), "")
    build.video(name, options.subset, _number(duration, where), _number(fps, where))
    return name


def _video_id(cells: dict[str, str]) -> str:
    media = next((cells[k] for k in _MEDIA if cells.get(k)), "").strip().replace("\\", "/")
    observation = cells.get("Observation id", "").strip()
    folder, slash, file = media.rpartition("/")
    stem = PurePosixPath(file).stem
    if f"/{folder}{slash}{stem}".endswith("/" + observation.replace("\\", "/")):
        return observation or stem
    return stem or observation


def _number(text: str, where: str) -> float | None:
    return to_seconds(text, where) if text.strip() and text.strip().upper() != "NA" else None


def _aggregated(path: Path, rows: list[tuple[int, list[str]]], options: ReadOptions, build: Builder) -> int:
    """Add the events to ``build``; returns the number of point events."""
    points = 0
    for where, cells in dict_rows(path, rows):
        video = _add_video(cells, path, options, build, where)
        if cells.get("Behavior type", "").strip().upper() == "POINT":
            points += 1
            continue
        label = cells.get("Behavior", "").strip()
        build.segment(video, cells.get("Start (s)"), cells.get("Stop (s)"), label, where)
    return points


def _events(path: Path, rows: list[tuple[int, list[str]]], options: ReadOptions, build: Builder) -> int:
    """The same for plain events: STOP closes the same subject's START of the same behaviour."""
    points, opened = 0, dict[tuple[str, str, str], tuple[str, str]]()
    for where, cells in dict_rows(path, rows):
        video = _add_video(cells, path, options, build, where)
        label = cells.get("Behavior", "").strip()
        status = (cells.get("Status") or cells.get("Behavior type") or "").strip().upper()
        key = (video, cells.get("Subject", ""), label)
        if status == "START" and key not in opened:
            opened[key] = (cells.get("Time", ""), where)
        elif status == "STOP" and key in opened:
            build.segment(video, opened.pop(key)[0], cells.get("Time"), label, where)
        elif status == "POINT":
            points += 1
        else:
            raise AnnotationError(
                f"{where}: {status or 'no status'!r} of {label!r} does not fit the rows above"
            )
    if opened:
        label, (_, where) = next((key[2], at) for key, at in opened.items())
        raise AnnotationError(f"{where}: {label!r} starts and never stops")
    return points


def write_boris(annotations: AnnotationSet, path: Path) -> None:
    """Write aggregated events, times to the millisecond; observations are named after the videos.

    Raises
    ------
    AnnotationError
        a name cannot be held.
    """
    refuse_blanks(annotations, "BORIS' tables")
    _write(
        path,
        (
            {
                "Observation id": name,
                "Total length": "NA" if v.duration_s is None else repr(v.duration_s),
                "FPS": "NA" if v.fps is None else repr(v.fps),
                **_event(s.label, s.start_s, s.end_s),
            }
            for name, v in annotations.videos.items()
            for s in v.all_segments
        ),
    )


def write_boris_predictions(detections: Sequence[Detection], videos: Mapping[str, Path], path: Path) -> None:
    """Write detections in the same table; the score goes to the start's comment, as ``score=0.87``."""
    _write(
        path,
        (
            {
                "Observation id": d.video_id,
                "Media file": path_text(videos[d.video_id]) if d.video_id in videos else "",
                "Total length": "NA",
                "FPS": "NA",
                "Comment start": f"score={d.score:.6g}",
                **_event(d.label, d.start_s, d.end_s),
            }
            for d in detections
        ),
    )


def _event(label: str, start_s: float, end_s: float) -> dict[str, str]:
    return {
        "Subject": "No focal subject",
        "Behavior": label,
        "Behavior type": "STATE",
        "Start (s)": f"{start_s:.3f}",
        "Stop (s)": f"{end_s:.3f}",
        "Duration (s)": f"{end_s - start_s:.3f}",
    }


def _write(path: Path, events: Iterable[Mapping[str, str]]) -> None:
    """One row an event; commas for ``.csv``, else tabs."""
    rows = ([event.get(column, "") for column in COLUMNS] for event in events)
    write_rows(path, COLUMNS, rows, "," if path.suffix.lower() == ".csv" else "\t")


FORMAT = Format(
    "boris",
    "BORIS tabular events",
    read_boris,
    write_boris,
    detect=_is_boris,
    precision_s=1e-3,
    keeps=("durations", "frame rates", "segments without length"),
    predictions=PredictionFiles("boris", "predictions.boris.tsv", write_boris_predictions),
)
