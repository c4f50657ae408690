"""A plain CSV or TSV: ``video,start,end,label`` and, if there, ``subset,duration,fps``; seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder, first_ids
from tal.annotations.columns import columns_of, is_sheet_error, rows_by_column
from tal.annotations.formats.base import FileContent, Format, PredictionFiles, refuse_blanks, refuse_names
from tal.annotations.label_column import choose_label, is_negative
from tal.annotations.options import ReadOptions
from tal.annotations.predictions import write_detections
from tal.annotations.rows import Table, read_table, write_rows
from tal.annotations.times import to_rate, to_seconds
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_NEEDED = ("video", "start", "end", "label")
# A spreadsheet may have a title and empty rows above its header.
_MAX_LINES_ABOVE = 40
_SAME_S = 0.01
_MANY = 5


def is_table(header: list[str]) -> bool:
    """Whether a line names the columns that a table must have."""
    return set(_NEEDED) <= columns_of(header).keys()


def _top(table: Table) -> int | None:
    """Number of the row that names the columns."""
    cells = (row for _, row in table.rows[:_MAX_LINES_ABOVE])
    return next((number for number, row in enumerate(cells) if is_table(row)), None)


def _is_plain_table(content: FileContent) -> bool:
    return not content.is_folder and _top(content.table) is not None


def read_plain_table(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a plain table; a row without start, end and label stands for a video without instances.

    Raises
    ------
    AnnotationError
        a column is missing, or a value makes no sense; names file and line.
    """
    whole = read_table(path)
    top = _top(whole)
    if top is None:
        missing = [name for name in _NEEDED if name not in columns_of(whole.header)]
        raise AnnotationError(
            f"{path}: lacks the columns {missing}; a plain table has video, start, end, label"
        )
    build = Builder(path.name, options)
    table = _without_comments(whole.below(top), build)
    columns = columns_of(table.header)
    columns |= choose_label(table, build)
    if top:
        build.notes.append(f"{top} lines above the line that names the columns are not read")
    decimals = table.decimals(
        c.place for ours, c in columns.items() if ours in ("start", "end", "duration", "fps")
    )
    rows = list(rows_by_column(table, columns))
    for where, cells in rows:
        for ours in ("start", "end", "duration", "fps"):
            if ours in cells:
                cells[ours] = decimals.plain(cells[ours], where)
    units = {ours: column.unit_s or 1.0 for ours, column in columns.items()}
    if "duration" in columns and _is_length_of_action(rows, units):
        build.notes.append(
            f"column {columns['duration'].header!r} is the length of each action, not of its video"
        )
        for _, cells in rows:
            del cells["duration"]
    for where, cells in rows:
        _read_row(where, cells, units, options, build)
    if bare := [cells["video"] for _, cells in rows if not any(cells[n] for n in cells if n != "video")]:
        build.notes.append(
            f"{len(bare)} rows with a name alone stand for videos without actions: {first_ids(bare)}"
        )
    if marked := [cells["video"] for _, cells in rows if cells["video"].startswith("#")]:
        build.notes.append(
            f"{len(marked)} rows are of videos that begin with '#': {first_ids(dict.fromkeys(marked))}; "
            "delete the rows if they are comments"
        )
    return build.build("table")


def _without_comments(table: Table, build: Builder) -> Table:
    """The table without lines that begin with # and are too short for a row; a note counts them."""
    width = len(table.header)
    comments = [line for line, cells in table.rows[1:] if cells[0].startswith("#") and len(cells) < width]
    if not comments:
        return table
    lines = ", ".join(map(str, comments[:3])) + (", …" if len(comments) > 3 else "")
    build.notes.append(f"{len(comments)} lines that begin with '#' are comments, not read: line {lines}")
    gone = set(comments)
    return replace(table, rows=[row for row in table.rows if row[0] not in gone])


def _read_row(
    where: str, cells: Mapping[str, str], units: Mapping[str, float], options: ReadOptions, build: Builder
) -> None:
    if not cells["video"]:
        raise AnnotationError(
            f"{where}: no video name; write it on every row (cells that a spreadsheet has merged are empty "
            "but for the first)"
        )
    duration = to_seconds(cells["duration"], f"{where}: duration") if cells.get("duration") else None
    build.video(
        cells["video"],
        cells.get("subset") or options.subset,
        duration * units["duration"] if duration is not None else None,
        to_rate(cells["fps"], f"{where}: fps") if cells.get("fps") else None,
    )
    if not (cells["start"] or cells["end"] or cells["label"]):
        return
    if is_negative(cells, where):
        build.leave("negative examples")
        return
    times = (units["start"], units["end"])
    build.segment(cells["video"], cells["start"], cells["end"], cells["label"], where, times)


def _is_length_of_action(rows: Sequence[tuple[str, Mapping[str, str]]], units: Mapping[str, float]) -> bool:
    """Whether every row's duration is its end less its start, and cannot be that of the video.

    It cannot where one video has several, or where many videos would end before their only action.
    """
    durations: dict[str, set[float]] = {}
    for where, cells in rows:
        if not (cells["duration"] and cells["start"] and cells["end"]):
            continue
        start, end, duration = (to_seconds(cells[n], where) * units[n] for n in ("start", "end", "duration"))
        if abs(end - start - duration) > _SAME_S:
            return False
        if start > _SAME_S:
            durations.setdefault(cells["video"], set()).add(duration)
    return any(len(d) > 1 for d in durations.values()) or len(durations) >= _MANY


def write_table(annotations: AnnotationSet, path: Path) -> None:
    """Write a plain table (tabs for ``.tsv``); one row an instance, one for a video without any.

    Raises
    ------
    AnnotationError
        a name cannot be held.
    """
    refuse_blanks(annotations, "a plain table")
    names = [*annotations.videos, *annotations.subsets, *annotations.used_labels]
    refuse_names(
        names, lambda name: not is_sheet_error(name), "a plain table cannot hold a spreadsheet's error"
    )
    rows: list[list[Any]] = []
    for name, v in annotations.videos.items():
        about = [v.subset, *("" if x is None else repr(x) for x in (v.duration_s, v.fps))]
        rows += [[name, repr(s.start_s), repr(s.end_s), s.label, *about] for s in v.all_segments]
        if not v.all_segments:
            rows.append([name, "", "", "", *about])
    header = ["video", "start", "end", "label", "subset", "duration", "fps"]
    write_rows(path, header, rows, "\t" if path.suffix.lower() == ".tsv" else ",")


FORMAT = Format(
    "table",
    "plain CSV / TSV: video, start, end, label",
    read_plain_table,
    write_table,
    detect=_is_plain_table,
    suffixes=(".csv", ".tsv"),
    aliases=("csv", "tsv"),
    keeps=("subsets", "durations", "frame rates", "videos without a segment", "segments without length"),
    predictions=PredictionFiles("csv", "predictions.csv", write_detections),
)
