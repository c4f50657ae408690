"""BORIS' tabular exports: aggregated events (``Start (s)``, ``Stop (s)``) and plain events (``START`` /
``STOP``).

A video is called like its media file, else like the observation. Point events have no length and are left
out.
"""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from tal.annotations.builder import Builder, to_seconds
from tal.annotations.options import ReadOptions
from tal.annotations.rows import dict_rows, read_rows, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_BEHAVIOR = "Behavior"


def is_boris(rows: list[tuple[int, list[str]]]) -> bool:
    return any(_BEHAVIOR in (c.strip() for c in cells) for _, cells in rows[:40])


def read_boris(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read either export; lines above the header (observation, date) are skipped."""
    rows = read_rows(path)
    top = next((i for i, (_, cells) in enumerate(rows) if _BEHAVIOR in (c.strip() for c in cells)), None)
    if top is None:
        raise AnnotationError(f"{path}: no column 'Behavior' in it: not a BORIS export")
    header = [c.strip() for c in rows[top][1]]
    build = Builder(path.name, options)
    if "Start (s)" in header and "Stop (s)" in header:
        points = _aggregated(path, rows[top:], options, build)
    elif "Time" in header and ("Status" in header or "Behavior type" in header):
        points = _events(path, rows[top:], options, build)
    else:
        raise AnnotationError(
            f"{path}: a BORIS export needs 'Start (s)' and 'Stop (s)', or 'Time' and 'Status'"
        )
    if points:
        build.notes.append(f"{points} point events have no length and are left out")
    return build.build("boris")


def _add_video(cells: dict[str, str], path: Path, options: ReadOptions, build: Builder, where: str) -> str:
    media = cells.get("Media file name") or cells.get("Media file path") or cells.get("Media file") or ""
    name = PureWindowsPath(media).stem or cells.get("Observation id", "").strip() or path.stem
    duration = next((cells[k] for k in cells if k.startswith(("Media duration", "Total length"))), "")
    fps = next((cells[k] for k in ("FPS", "FPS (frame/s)") if k in cells), "")
    build.video(name, options.subset, _number(duration, where), _number(fps, where))
    return name


def _number(text: str, where: str) -> float | None:
    return to_seconds(text, where) if text.strip() and text.strip().upper() != "NA" else None


def _aggregated(path: Path, rows: list[tuple[int, list[str]]], options: ReadOptions, build: Builder) -> int:
    points = 0
    for where, cells in dict_rows(path, rows):
        video = _add_video(cells, path, options, build, where)
        if cells.get("Behavior type", "").strip().upper() == "POINT":
            points += 1
            continue
        build.segment(
            video, cells.get("Start (s)"), cells.get("Stop (s)"), cells.get(_BEHAVIOR, "").strip(), where
        )
    return points


def _events(path: Path, rows: list[tuple[int, list[str]]], options: ReadOptions, build: Builder) -> int:
    """STOP closes the same subject's START of the same behaviour."""
    points, opened = 0, dict[tuple[str, str, str], tuple[str, str]]()
    for where, cells in dict_rows(path, rows):
        video = _add_video(cells, path, options, build, where)
        label = cells.get(_BEHAVIOR, "").strip()
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
    """Write aggregated events, tab-separated, times to the millisecond; videos without an instance and
    subsets have no place in this format."""
    header = ["Observation id", "Media file name", "Media duration (s)", "FPS", "Subject", _BEHAVIOR]
    header += ["Behavior type", "Start (s)", "Stop (s)", "Duration (s)"]
    rows = []
    for name, v in annotations.videos.items():
        about = [name, f"{name}.mp4", *("NA" if x is None else repr(x) for x in (v.duration_s, v.fps)), ""]
        for s in (*v.counted, *v.ignored):
            times = [f"{x:.3f}" for x in (s.start_s, s.end_s, s.duration_s)]
            rows.append([*about, s.label, "STATE", *times])
    write_rows(path, header, rows, "," if path.suffix.lower() == ".csv" else "\t")
