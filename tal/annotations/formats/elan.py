"""ELAN's delimited text (File > Export As > Tab-delimited Text), with every option of that export.

One file is usually one video, called like the file; in an export of several files a column ``File Name`` or
``File Path``, or a line above its rows, names the video. Where each tier has its own column, every filled one
is an annotation. The label is the annotation's value; where that is empty, the tier's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from tal.annotations.builder import Builder, first_ids
from tal.annotations.formats.base import FileContent, Format, refuse_blanks, refuse_names
from tal.annotations.formats.elan_layout import Layout, is_header, layout_of_cells, layout_of_header
from tal.annotations.ids import VIDEO_SUFFIXES
from tal.annotations.options import ReadOptions
from tal.annotations.rows import Table, read_table, write_rows
from tal.annotations.types import AnnotationSet
from tal.errors import AnnotationError

_MAX_LINES_ABOVE = 40
# A line of a file that the rows below are of, or of its media: "#file:///d/cow.mp4 -- offset: 0"
_MEDIA = re.compile(r"#(.*) -- offset: (-?\d+)")
_ABSOLUTE = re.compile(r"/|\\|[A-Za-z]:[\\/]")
_NO_VALUE = "rows without a value in any tier"


def _is_elan(content: FileContent) -> bool:
    """Whether there are headers of ELAN's times, or rows that begin as ELAN's do without headers."""
    if content.is_folder:
        return False
    table = content.table
    if any(is_header(cells) for _, cells in table.rows[:_MAX_LINES_ABOVE]):
        return True
    rows = [cells for _, cells in table.rows if not _is_line_of_file(cells)]
    if table.delimiter != "\t" and not content.text.lstrip().startswith('"'):
        return False  # between commas ELAN puts its texts in quotation marks
    if any(cells[0].strip().lower().endswith(VIDEO_SUFFIXES) for cells in rows):
        return False  # video, start, end, label without a header
    return layout_of_cells(rows) is not None


def _is_line_of_file(cells: Sequence[str]) -> bool:
    """Whether a line names a file instead of an annotation."""
    filled = [cell for cell in cells if cell.strip()]
    return len(filled) == 1 and (filled[0].startswith("#") or filled[0].strip().lower().endswith(".eaf"))


def read_elan(path: Path, options: ReadOptions) -> AnnotationSet:
    """Read an export.

    Raises
    ------
    AnnotationError
        a line without times, or headers without a column of times; names file and line.
    """
    table = read_table(path)
    if not table.rows:
        raise AnnotationError(f"{path}: empty table")
    top = next((i for i, (_, cells) in enumerate(table.rows[:_MAX_LINES_ABOVE]) if is_header(cells)), None)
    table = replace(  # titles above the header say nothing, names of files do
        table, rows=[row for i, row in enumerate(table.rows) if i >= (top or 0) or _is_line_of_file(row[1])]
    )
    rows = [cells for _, cells in table.rows if not _is_line_of_file(cells) and not is_header(cells)]
    if top is not None:
        header = next(cells for _, cells in table.rows if is_header(cells))
        layout = layout_of_header(header, rows, str(path))
    elif (found := layout_of_cells(rows)) is not None:
        layout = found
    else:
        raise AnnotationError(
            f"{path}: no begin and end time in every line; in ELAN choose File > Export As > Tab-delimited "
            "Text with begin time, end time and the format ss.msec"
        )
    build = Builder(path.name, options)
    if layout.precision_s:
        build.notes.append(
            f"times are counted in frames, exact to {layout.precision_s:.3f} s; the format ss.msec is exact"
        )
    if top is None:
        build.notes.append(
            f"no line names the columns: read as ELAN's text of one video, {path.stem!r}"
            + (
                f", with the tiers {first_ids(dict.fromkeys(cells[0] for cells in rows))}"
                if layout.tier == 0
                else ""
            )
        )
    _add_rows(table, layout, path.stem, options, build)
    return build.build("elan")


def _add_rows(table: Table, layout: Layout, video: str, options: ReadOptions, build: Builder) -> None:
    """Give every annotation of every row to ``build``; ``video`` is the id where nothing names it."""
    decimals = table.decimals(time.place for time in layout.times.values())
    media: list[str] = []
    named = bool(layout.files)
    for line, cells in table.rows:
        if is_header(cells):
            continue
        if _is_line_of_file(cells):
            text = next(cell for cell in cells if cell.strip()).strip()
            if match := _MEDIA.fullmatch(text):
                media.append(PureWindowsPath(match[1]).stem)
                _note_offset(match[1], int(match[2]), build)
            else:
                video, named = _video_id(text.removeprefix("#")), True
            continue
        where = table.where(line)
        start_s, end_s = layout.interval(cells, where, decimals)
        file = next((cells[i].strip() for i in layout.files if i < len(cells) and cells[i].strip()), "")
        name = _video_id(file) if file else video
        build.video(name, options.subset)
        labels = list(_labels(layout, cells))
        if not labels:
            build.leave(_NO_VALUE)
        for label in labels:
            build.segment(name, start_s, end_s, label, where)
    if media and not named and video not in media:
        build.notes.append(f"the media are {first_ids(media)}; the video is named after the file, {video!r}")


def _labels(layout: Layout, cells: Sequence[str]) -> Iterator[str]:
    """Labels of a row's annotations."""
    cell = {i: cells[i].strip() if i < len(cells) else "" for i in layout.values}
    if layout.tier is not None:
        tier = cells[layout.tier].strip() if layout.tier < len(cells) else ""
        yield next((value for value in cell.values() if value), tier)
    elif len(cell) == 1 and not any(cell.values()):
        yield from filter(None, layout.values.values())  # the one tier, without a value
    else:
        yield from filter(None, cell.values())


def _note_offset(media: str, offset_ms: int, build: Builder) -> None:
    if offset_ms:
        build.notes.append(
            f"{PureWindowsPath(media).name} has an offset of {offset_ms} ms in ELAN; times are taken as they "
            "are: export with 'Add master media time offset to annotation times', or give the .eaf file"
        )


def _video_id(file: str) -> str:
    """The id that a file's name stands for: without suffix; of an absolute path, the last part."""
    if _ABSOLUTE.match(file):
        return PureWindowsPath(file).stem
    stem, dot, suffix = file.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in (".eaf", *VIDEO_SUFFIXES) else file


def write_elan(annotations: AnnotationSet, path: Path) -> None:
    """Write the form of an export of several files, to the millisecond.

    Raises
    ------
    AnnotationError
        a name cannot be held.
    """
    refuse_blanks(annotations, "ELAN's text")
    refuse_names(
        annotations.videos, lambda name: not _ABSOLUTE.match(name), "ELAN's text takes for paths the names"
    )
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
