"""What the columns of a plain table are, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tal.annotations.rows import Table
from tal.errors import AnnotationError

# Our name of a column -> what people call it; blanks, hyphens and underscores are one. Earlier ones win.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "video": (
        *("video", "video_id", "videoid", "video_name", "video_file", "video_path", "youtube_id"),
        *("file", "filename", "file_name", "name", "id"),
    ),
    "start": (
        *("start", "start_time", "starttime", "start_timestamp", "t_start", "time_start"),
        *("begin", "begin_time", "onset"),
    ),
    "end": (
        *("end", "end_time", "endtime", "end_timestamp", "t_end", "time_end"),
        *("stop", "stop_time", "stop_timestamp", "finish", "offset"),
    ),
    "label": (
        "label",
        "label_name",
        "class",
        "class_name",
        "classname",
        "action",
        "activity",
        "behavior",
        "behaviour",
        "type",
    ),
    "subset": ("subset", "split"),
    "duration": ("duration", "video_duration", "seconds", "length"),
    "fps": ("fps", "frame_rate", "framerate"),
}
_TIMES = ("start", "end", "duration")
# Unit as a header writes it -> seconds; None counts frames.
_UNITS: Mapping[str, float | None] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "hh:mm:ss"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("min", "mins", "minutes"), 60.0),
    **dict.fromkeys(("frame", "frames", "f"), None),
}
_IN_BRACKETS = re.compile(r"(.*?)[\s_-]*[(\[]\s*(.*?)\s*[)\]]", re.DOTALL)
_MAX_HEADER = 60  # characters
# #NAME?, #VALUE!, #DIV/0!, #WERT!, #N/A
_SHEET_ERROR = re.compile(r"#(?:[A-ZÀ-Þ]+[?!]|DIV/0!|N/A|N/D|NV)")
_PREFERRED = (1.0, 1e-3, 60.0, None)


@dataclass(frozen=True)
class Column:
    """Where a column stands, its header, and for times how many seconds its unit is (None: frames)."""

    place: int
    header: str
    unit_s: float | None = 1.0
    twice: bool = False


def columns_of(header: list[str]) -> dict[str, Column]:
    """Our names of columns -> those that a header has."""
    return {ours: _best(candidates) for ours, candidates in _candidates(header).items()}


def label_columns(header: list[str]) -> list[Column]:
    """Every column that can hold the labels, the best name first."""
    return [column for *_, column in sorted(_candidates(header).get("label", []), key=lambda c: c[0])]


def _candidates(header: list[str]) -> dict[str, list[tuple[int, int, Column]]]:
    """Our names of columns -> (rank of the name, rank of the unit, column) of all that can be it."""
    found: dict[str, list[tuple[int, int, Column]]] = {}
    for place, cell in enumerate(header):
        for ours, names in _NAMES.items():
            for name, unit_s in _readings(cell, ours in _TIMES):
                if name in names:
                    rank = (names.index(name), _PREFERRED.index(unit_s))
                    found.setdefault(ours, []).append((*rank, Column(place, cell.strip(), unit_s)))
                    break
    return found


def _readings(cell: str, is_time: bool) -> Iterator[tuple[str, float | None]]:
    """(name, unit in seconds) that a header can mean."""
    text = cell.strip().lower()
    if len(text) > _MAX_HEADER:
        return
    name = _plain(text)
    yield name, 1.0
    if not is_time:
        return
    if (match := _IN_BRACKETS.fullmatch(text)) and match[2] in _UNITS:
        yield _plain(match[1]), _UNITS[match[2]]
    first, _, rest = name.partition("_")
    if first in _UNITS:  # frame_start
        yield rest, _UNITS[first]
    rest, _, last = name.rpartition("_")
    if last in _UNITS:
        yield rest, _UNITS[last]
    for unit in ("frame", "frames"):  # startframe
        yield name.removesuffix(unit), None


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "_", text).strip("_")


def _best(candidates: list[tuple[int, int, Column]]) -> Column:
    """The column with the first unit, then the first name; whether there are two such."""
    candidates = sorted(candidates, key=lambda c: (c[1], c[0], c[2].place))
    best = candidates[0]
    twice = len(candidates) > 1 and candidates[1][:2] == best[:2]
    return Column(best[2].place, best[2].header, best[2].unit_s, twice)


def rows_by_column(
    table: Table, columns: Mapping[str, Column], times: tuple[str, ...] = _TIMES
) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, cells by our names of columns) of the rows under the header; blanks around cells are cut off.

    Raises
    ------
    AnnotationError
        a column is there twice, counts frames, a row has more cells than there are columns, or a spreadsheet
        has put an error in place of a cell's content.
    """
    refuse_unclear(table, columns, times)
    width = len(table.header)
    for line, cells in table.rows[1:]:
        table.check_width(line, cells, width)
        named = {ours: cells[c.place].strip() if c.place < len(cells) else "" for ours, c in columns.items()}
        refuse_sheet_errors(named.values(), table.where(line))
        yield table.where(line), named


def refuse_unclear(table: Table, columns: Mapping[str, Column], times: tuple[str, ...]) -> None:
    """Refuse two columns of one meaning, and columns of ``times`` that count frames.

    Raises
    ------
    AnnotationError
        naming the column.
    """
    for ours, column in columns.items():
        if column.twice:
            raise AnnotationError(f"{table.path}: two columns can be {ours!r}: delete or rename one of them")
        if column.unit_s is None and ours in times:
            raise AnnotationError(
                f"{table.path}: column {column.header!r} counts frames: give seconds, the frame's number "
                f"divided by the frame rate of its video, in a column {ours!r}"
            )


def refuse_sheet_errors(cells: Iterable[str], where: str) -> None:
    """Refuse what spreadsheets write where they lost a cell: ids that begin with - or = are formulas to them.

    Raises
    ------
    AnnotationError
        a cell is such an error; the message begins with ``where``.
    """
    if lost := next((cell for cell in cells if is_sheet_error(cell)), None):
        raise AnnotationError(
            f"{where}: {lost!r} is a spreadsheet's error: what stood there, such as an id that begins with - "
            "or =, is lost. Take the file from before the spreadsheet, or open it there with this column as "
            "text"
        )


def is_sheet_error(cell: str) -> bool:
    """Whether a cell is what spreadsheets show in place of a formula's value: ``#NAME?``."""
    return bool(_SHEET_ERROR.fullmatch(cell))
