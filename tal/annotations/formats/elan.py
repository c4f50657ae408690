"""ELAN's tab-delimited export, with or without column headers.

One file is usually one video, called like the file; a column ``File Name`` or ``File Path`` (export of
several files) names the video otherwise. Times are taken from the most exact column; the label is the
annotation, or the
tier's name where the annotation is empty.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from tal.annotations.builder import Builder
from tal.annotations.options import ReadOptions
from tal.annotations.rows import read_rows, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_CLOCK = re.compile(r"\d+:\d\d:\d\d(\.\d+)?$")
_NUMBER = re.compile(r"-?\d+(\.\d+)?$")
# unit of a time column's header -> seconds; ELAN names them "Begin Time - ss.msec"
_UNITS = (("ss.msec", 1.0), ("msec", 1e-3), ("hh:mm:ss.ms", 1.0))


def is_elan(cells: list[str]) -> bool:
    """Whether a first line looks like ELAN's: its headers, or a tier with times."""
    return any(c.strip().startswith("Begin Time") for c in cells) or _times(cells) is not None


def _times(cells: list[str]) -> tuple[int, int, float] | None:
    """Without headers: places of begin and end, and their unit in seconds."""
    clocks = [i for i, c in enumerate(cells) if _CLOCK.match(c.strip())]
    if len(clocks) >= 2:
        return clocks[0], clocks[1], 1.0
    numbers = [i for i, c in enumerate(cells) if i and _NUMBER.match(c.strip())]
    if len(numbers) >= 2:
        exact = "." in cells[numbers[0]] or "." in cells[numbers[1]]
        return numbers[0], numbers[1], 1.0 if exact else 1e-3
    return None


def read_elan(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read an export.

    Raises:
        AnnotationError: no times to be found; names file and line.
    """
    rows = read_rows(path, "\t")
    if not rows:
        raise AnnotationError(f"{path}: empty table")
    header = [c.strip() for c in rows[0][1]]
    headed = any(c.startswith("Begin Time") for c in header)
    build = Builder(path.name, options)
    if headed:
        begin, unit = _column(path, header, "Begin Time")
        end, end_unit = _column(path, header, "End Time")
        tier = next((i for i, c in enumerate(header) if c.lower() == "tier"), None)
        file = next((i for i, c in enumerate(header) if c in ("File Name", "File Path", "File")), None)
        taken = {tier, file}
        labels = [
            i
            for i, c in enumerate(header)
            if i not in taken
            and not re.match(r"(Begin Time|End Time|Duration)\b", c)
            and c not in ("Participant", "Annotator", "File Path", "File Name")
        ]
        rows = rows[1:]
    for line, cells in rows:
        where = f"{path.name}, line {line}"
        cells = [c.strip() for c in cells]
        if headed:
            cells += [""] * (len(header) - len(cells))
            video = PureWindowsPath(cells[file]).stem if file is not None and cells[file] else path.stem
            label = next((cells[i] for i in labels if cells[i]), cells[tier] if tier is not None else "")
        else:
            places = _times(cells)
            if places is None:
                raise AnnotationError(f"{where}: no begin and end time; export them from ELAN")
            begin, end, unit = places
            end_unit = unit
            video = path.stem
            valued = len(cells) - 1 > end and cells[-1] and not _is_time(cells[-1])
            label = cells[-1] if valued else cells[0]
        build.video(video, options.subset)
        build.segment(video, cells[begin], cells[end], label, where, (unit, end_unit))
    return build.build("elan")


def _is_time(cell: str) -> bool:
    return bool(_CLOCK.match(cell) or _NUMBER.match(cell))


def _column(path: Path, header: list[str], name: str) -> tuple[int, float]:
    for unit, seconds in _UNITS:
        for i, cell in enumerate(header):
            if cell.startswith(name) and cell.endswith(f"- {unit}"):
                return i, seconds
    raise AnnotationError(f"{path}: no column '{name} - ss.msec', '- msec' or '- hh:mm:ss.ms'")


def write_elan(annotations: AnnotationSet, path: Path) -> None:
    """Write the export's form, several files in one, to the millisecond; subset and duration have no
    place."""
    rows = [
        ["action", f"{s.start_s:.3f}", f"{s.end_s:.3f}", f"{s.duration_s:.3f}", s.label, name]
        for name, v in annotations.videos.items()
        for s in (*v.counted, *v.ignored)
    ]
    times = [f"{n} - ss.msec" for n in ("Begin Time", "End Time", "Duration")]
    write_rows(path, ["Tier", *times, "Annotation", "File Name"], rows, "\t")
