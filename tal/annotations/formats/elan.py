"""ELAN's tab-delimited export, with or without column headers.

One file is usually one video, called like the file; in an export of several files a column ``File Name`` or
``File Path`` names the video. Times are taken from the most exact column; the label is the annotation, or the
tier's name where the annotation is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from tal.annotations.builder import Builder
from tal.annotations.formats.base import FileContent, Format, refuse_blanks
from tal.annotations.ids import VIDEO_SUFFIXES
from tal.annotations.options import ReadOptions
from tal.annotations.rows import read_rows, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_CLOCK = re.compile(r"\d+:\d\d:\d\d(\.\d+)?$")
_NUMBER = re.compile(r"-?\d+(\.\d+)?$")
_TIMES = re.compile(r"(Begin Time|End Time|Duration)\b")
# unit of a time column's header -> seconds; ELAN names them "Begin Time - ss.msec"
_UNITS = (("ss.msec", 1.0), ("msec", 1e-3), ("hh:mm:ss.ms", 1.0))
_FILE_COLUMNS = ("File Name", "File", "File Path")
_NOT_LABELS = (*_FILE_COLUMNS, "Participant", "Annotator")


@dataclass(frozen=True)
class _Row:
    """What one line says: times as text with their units in seconds, and the video where it is named."""

    begin: str
    end: str
    units_s: tuple[float, float]
    label: str
    video: str = ""


def _is_elan(content: FileContent) -> bool:
    """Whether a first line looks like ELAN's: its headers, or a tier with times."""
    return _is_headed(content.header) or _times(content.header) is not None


def _is_headed(cells: list[str]) -> bool:
    return any(c.startswith("Begin Time") for c in cells)


def _times(cells: list[str]) -> tuple[int, int, float] | None:
    """Without headers: places of begin and end, and their unit in seconds."""
    clocks = [i for i, c in enumerate(cells) if _CLOCK.match(c)]
    if len(clocks) >= 2:
        return clocks[0], clocks[1], 1.0
    numbers = [i for i, c in enumerate(cells) if i and _NUMBER.match(c)]
    if len(numbers) >= 2:
        exact = "." in cells[numbers[0]] or "." in cells[numbers[1]]
        return numbers[0], numbers[1], 1.0 if exact else 1e-3
    return None


def read_elan(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read an export.

    Raises
    ------
    AnnotationError
        a line without times, or headers without a column of times; names file and line.
    """
    rows = [(line, [c.strip() for c in cells]) for line, cells in read_rows(path, "\t")]
    if not rows:
        raise AnnotationError(f"{path}: empty table")
    take: Callable[[str, list[str]], _Row] = _row_without_header
    if _is_headed(rows[0][1]):
        take = _row_taker(path, rows[0][1])
        rows = rows[1:]
    build = Builder(path.name, options)
    for line, cells in rows:
        where = f"{path.name}, line {line}"
        row = take(where, cells)
        video = row.video or path.stem
        build.video(video, options.subset)
        build.segment(video, row.begin, row.end, row.label, where, row.units_s)
    return build.build("elan")


def _row_without_header(where: str, cells: list[str]) -> _Row:
    places = _times(cells)
    if places is None:
        raise AnnotationError(f"{where}: no begin and end time; export them from ELAN")
    begin, end, unit = places
    last = cells[-1]
    has_value = len(cells) - 1 > end and last and not _CLOCK.match(last) and not _NUMBER.match(last)
    return _Row(cells[begin], cells[end], (unit, unit), last if has_value else cells[0])


def _row_taker(path: Path, header: list[str]) -> Callable[[str, list[str]], _Row]:
    """What makes a row of a line under these headers."""
    begin, begin_unit = _time_column(path, header, "Begin Time")
    end, end_unit = _time_column(path, header, "End Time")
    tier = next((i for i, c in enumerate(header) if c.lower() == "tier"), None)
    file = next((i for i, c in enumerate(header) if c in _FILE_COLUMNS), None)
    labels = [i for i, c in enumerate(header) if i != tier and not _TIMES.match(c) and c not in _NOT_LABELS]

    def take(where: str, cells: list[str]) -> _Row:
        cells = cells + [""] * (len(header) - len(cells))
        label = next((cells[i] for i in labels if cells[i]), cells[tier] if tier is not None else "")
        video = _video_id(header[file], cells[file]) if file is not None else ""
        return _Row(cells[begin], cells[end], (begin_unit, end_unit), label, video)

    return take


def _video_id(column: str, file: str) -> str:
    """The id in a column of files: a path stands for its last part, a name for itself without suffix."""
    if column == "File Path":
        return PureWindowsPath(file).stem
    stem, dot, suffix = file.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in (".eaf", *VIDEO_SUFFIXES) else file


def _time_column(path: Path, header: list[str], name: str) -> tuple[int, float]:
    """The most exact column of a time, and its unit in seconds."""
    for unit, seconds in _UNITS:
        for i, cell in enumerate(header):
            if cell.startswith(name) and cell.endswith(f"- {unit}"):
                return i, seconds
    raise AnnotationError(f"{path}: no column '{name} - ss.msec', '- msec' or '- hh:mm:ss.ms'")


def write_elan(annotations: AnnotationSet, path: Path) -> None:
    """Write the form of an export of several files, to the millisecond.

    Raises
    ------
    AnnotationError
        a name cannot be held.
    """
    refuse_blanks(annotations, "ELAN's text")
    rows = [
        ["action", f"{s.start_s:.3f}", f"{s.end_s:.3f}", f"{s.duration_s:.3f}", s.label, f"{name}.eaf"]
        for name, v in annotations.videos.items()
        for s in v.all_segments
    ]
    times = [f"{n} - ss.msec" for n in ("Begin Time", "End Time", "Duration")]
    write_rows(path, ["Tier", *times, "Annotation", "File Name"], rows, "\t")


FORMAT = Format(
    "elan",
    "ELAN tab-delimited text",
    read_elan,
    write_elan,
    detect=_is_elan,
    suffixes=(".txt",),
    precision_s=1e-3,
    keeps=("segments without length",),
)
