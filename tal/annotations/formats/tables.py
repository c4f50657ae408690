"""A plain CSV or TSV: ``video,start,end,label`` and, if there, ``subset,duration,fps``; seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tal.annotations.builder import Builder, to_seconds
from tal.annotations.formats.base import Format, PredictionFiles, refuse_blanks
from tal.annotations.options import ReadOptions
from tal.annotations.predictions import write_detections
from tal.annotations.rows import dict_rows, read_rows, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_NAMES = {
    "video": ("video", "video_id", "videoid", "video_name", "file", "filename", "name", "id"),
    "start": ("start", "start_s", "start_time", "t_start", "t-start", "begin", "onset"),
    "end": ("end", "end_s", "end_time", "t_end", "t-end", "stop", "offset"),
    "label": ("label", "class", "action", "activity", "behavior", "type"),
    "subset": ("subset", "split"),
    "duration": ("duration", "duration_s", "seconds", "length"),
    "fps": ("fps", "frame_rate"),
}


def columns_of(header: list[str]) -> dict[str, str]:
    """Our column names -> the header's spelling of them."""
    lower = {c.strip().lower(): c.strip() for c in reversed(header)}
    return {
        ours: lower[n] for ours, names in _NAMES.items() if (n := next((n for n in names if n in lower), ""))
    }


def is_table(header: list[str]) -> bool:
    """Whether a first line names the columns that a table must have."""
    return {"video", "start", "end", "label"} <= set(columns_of(header))


def read_table(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read a plain table; a row without start, end and label stands for a video without instances."""
    rows = read_rows(path)
    columns = columns_of(rows[0][1]) if rows else {}
    missing = [n for n in ("video", "start", "end", "label") if n not in columns]
    if missing:
        raise AnnotationError(
            f"{path}: lacks the columns {missing}; a plain table has video, start, end, label"
        )
    build = Builder(path.name, options)
    for where, cells in dict_rows(path, rows):
        value = {ours: cells.get(theirs, "").strip() for ours, theirs in columns.items()}
        numbers = {
            n: to_seconds(value[n], f"{where}: {n}") if value.get(n) else None for n in ("duration", "fps")
        }
        if not value["video"]:
            raise AnnotationError(f"{where}: no video name")
        build.video(
            value["video"], value.get("subset") or options.subset, numbers["duration"], numbers["fps"]
        )
        if value["start"] or value["end"] or value["label"]:
            build.segment(value["video"], value["start"], value["end"], value["label"], where)
    return build.build("table")


def write_table(annotations: AnnotationSet, path: Path) -> None:
    """Write a plain table (tabs for ``.tsv``); one row an instance, one for a video without any.

    Raises
    ------
    AnnotationError
        a name cannot be held.
    """
    refuse_blanks(annotations, "a plain table")
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
    read_table,
    write_table,
    detect=lambda content: is_table(content.header),
    suffixes=(".csv", ".tsv"),
    aliases=("csv", "tsv"),
    keeps=("subsets", "durations", "frame rates", "videos without a segment", "segments without length"),
    predictions=PredictionFiles("csv", "predictions.csv", write_detections),
)
