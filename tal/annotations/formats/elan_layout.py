"""Where times, values and files stand in ELAN's delimited text: told by its header, or by the cells.

ELAN (File > Export As > Tab-delimited Text) writes each time in up to four forms, side by side, for begin,
end and duration; a header only where each tier has its own column, and in the language of its menus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tal.annotations.decimals import Decimals
from tal.annotations.times import to_seconds
from tal.errors import AnnotationError

_MAX_HEADER = 100  # characters
_HEADER = re.compile(r"(.+?) - (\S.*)")
# What ends the header of a time, the easiest to read first -> seconds of one unit.
_UNITS_S = {"ss.msec": 1.0, "msec": 1e-3, "hh:mm:ss.ms": 1.0}
_ROLES = {"begin time": "begin", "end time": "end", "duration": "duration"}
_ORDER = ("begin", "end", "duration")
_KINDS = {
    "clock": re.compile(r"\d+:\d\d:\d\d(?:[.,]\d+)?"),
    "frames": re.compile(r"\d+:\d\d:\d\d[:;]\d\d"),
    "seconds": re.compile(r"-?\d+[.,]\d+"),
    "milliseconds": re.compile(r"-?\d+"),
}
_NTSC = 29.97  # as ELAN has it
_TOLERANCE_S = 0.0015
_FILE_COLUMNS = ("file name", "file", "file path")
_NOT_TIERS = (*_FILE_COLUMNS, "participant", "annotator")
_EXPORT = (
    "in ELAN choose File > Export As > Tab-delimited Text with begin time, end time and the format ss.msec"
)


@dataclass(frozen=True)
class Time:
    """A column of times.

    Attributes
    ----------
    unit_s
        seconds of one unit; of a clock's too.
    rate
        frames a second where the time is hours, minutes, seconds and frames; 0: it is not.
    """

    place: int
    unit_s: float = 1.0
    rate: float = 0.0

    def seconds(self, cells: Sequence[str], where: str, decimals: Decimals) -> float:
        """The time of a row."""
        text = cells[self.place] if self.place < len(cells) else ""
        if self.rate and _KINDS["frames"].fullmatch(text.strip()):
            return _timecode(text.strip(), self.rate)
        return to_seconds(decimals.plain(text, where), where) * self.unit_s


@dataclass(frozen=True)
class Layout:
    """Columns by what they hold.

    Attributes
    ----------
    times
        "begin", "end", "duration" -> the column; two of them at least.
    values
        columns of values with the tier's name where the header has it: each filled one is an annotation.
    tier
        column of the tier's name, or None.
    """

    times: Mapping[str, Time]
    values: Mapping[int, str]
    tier: int | None = None
    files: tuple[int, ...] = ()

    @property
    def precision_s(self) -> float:
        """How far apart two times are at least; 0: not said."""
        return max((1 / time.rate if time.rate else 0.0 for time in self.times.values()), default=0.0)

    def interval(self, cells: Sequence[str], where: str, decimals: Decimals) -> tuple[float, float]:
        """Begin and end of a row in seconds."""
        time = {role: column.seconds(cells, where, decimals) for role, column in self.times.items()}
        begin = time["begin"] if "begin" in time else time["end"] - time["duration"]
        return begin, time["end"] if "end" in time else begin + time["duration"]


def is_header(cells: Iterable[str]) -> bool:
    """Whether a line names columns of times."""
    return any(_time_of(0, cell) is not None for cell in cells)


def _time_of(place: int, cell: str) -> tuple[str, int, Time] | None:
    """(what ELAN calls the time, rank of its form, column) of a header's cell; None: it is not a time."""
    match = _HEADER.fullmatch(cell.strip()) if len(cell) <= _MAX_HEADER else None
    if match is None:
        return None
    unit = match[2].strip()
    rate = _NTSC if "NTSC" in unit else 0.0 if "PAL" not in unit else 50.0 if "50" in unit else 25.0
    if unit not in _UNITS_S and not rate:
        return None
    rank = len(_UNITS_S) if rate else list(_UNITS_S).index(unit)
    return match[1].strip().casefold(), rank, Time(place, _UNITS_S.get(unit, 1.0), rate)


def layout_of_header(header: Sequence[str], rows: Sequence[Sequence[str]], source: str) -> Layout:
    """The columns that a header names, in any of ELAN's languages.

    Raises
    ------
    AnnotationError
        not two of begin, end and duration.
    """
    found = [time for place, cell in enumerate(header) if (time := _time_of(place, cell)) is not None]
    times = _best_times(found)
    if len(times) < 2:
        raise AnnotationError(f"{source}: needs begin and end times; {_EXPORT}")
    places = {time.place for _, _, time in found}
    others = [i for i in range(len(header)) if i not in places]
    lower = [cell.strip().casefold() for cell in header]
    tier = next((i for i in others if lower[i] == "tier"), None)
    files = tuple(i for i in others if lower[i] in _FILE_COLUMNS or _holds_files(rows, i))
    values = {
        i: header[i].strip() for i in others if i != tier and i not in files and lower[i] not in _NOT_TIERS
    }
    explained = next(
        (i for i in reversed(values) if len(values) > 1 and lower[i].endswith("description")), None
    )
    if explained is not None and all(_filled(row, values, explained) for row in rows):
        del values[explained]  # of a controlled vocabulary's entries
    return Layout(times, values, tier, files)


def _best_times(found: Sequence[tuple[str, int, Time]]) -> dict[str, Time]:
    """Role -> its column, in the form that is read most easily."""
    names = list(dict.fromkeys(name for name, _, _ in found))
    if len(names) == 1:  # ELAN calls all three "Begin Time" in PAL-50
        return {role: time for role, (_, _, time) in zip(_ORDER, found, strict=False)}
    if all(name in _ROLES for name in names):
        roles = {name: _ROLES[name] for name in names}
    else:  # another language
        roles = dict(zip(names, _ORDER, strict=False))
    best = {
        role: min((rank, time.place, time) for n, rank, time in found if n == name)
        for name, role in roles.items()
    }
    return {role: time for role, (_, _, time) in best.items()}


def _holds_files(rows: Sequence[Sequence[str]], place: int) -> bool:
    cells = [row[place].strip() for row in rows if place < len(row) and row[place].strip()]
    return bool(cells) and all(cell.lower().endswith(".eaf") for cell in cells)


def _filled(row: Sequence[str], values: Iterable[int], explained: int) -> bool:
    """Whether a row that has the explanation has a value, too."""
    cells = {i: row[i].strip() if i < len(row) else "" for i in values}
    return not cells[explained] or any(cell for i, cell in cells.items() if i != explained)


def layout_of_cells(rows: Sequence[Sequence[str]]) -> Layout | None:
    """The columns of rows without a header; None where none of them can be begin and end."""
    if not rows:
        return None
    width = min(map(len, rows))
    kinds = [_kind(row[i].strip() for row in rows) for i in range(width)]
    for roles in (3, 2):
        for forms in (4, 3, 2, 1):
            for start in range(min(4, width)):
                block = kinds[start : start + roles * forms]
                if len(block) == roles * forms and _fits(block, forms, roles, start, rows):
                    return _without_header(block, forms, roles, start, rows)
    return None


def _kind(cells: Iterable[str]) -> str:
    kinds = {next((kind for kind, form in _KINDS.items() if form.fullmatch(cell)), "") for cell in cells}
    if kinds == {"seconds", "milliseconds"}:
        return "seconds"
    return kinds.pop() if len(kinds) == 1 else ""


def _fits(block: Sequence[str], forms: int, roles: int, start: int, rows: Sequence[Sequence[str]]) -> bool:
    """Whether these columns are begin, end (and duration), each in so many forms."""
    first = block[:forms]
    if "" in block or len(set(first)) < forms:
        return False
    if forms == 1 and set(block) == {"seconds", "milliseconds"}:  # 1 and 1.5, by a spreadsheet
        first = ["seconds"]
    elif list(block) != list(first) * roles:
        return False
    if first == ["frames"]:
        return False
    place = next(i for i, kind in enumerate(first) if kind != "frames")
    unit_s = 1e-3 if first[place] == "milliseconds" else 1.0
    try:
        for row in rows:
            cells = (row[start + place + role * forms].strip().replace(",", ".") for role in range(roles))
            begin, end, *duration = (to_seconds(cell, "") * unit_s for cell in cells)
            if begin > end or (duration and abs(begin + duration[0] - end) > _TOLERANCE_S):
                return False
    except AnnotationError:
        return False
    return True


def _without_header(
    block: Sequence[str], forms: int, roles: int, start: int, rows: Sequence[Sequence[str]]
) -> Layout:
    first = block[:forms]
    kinds = ["seconds"] if forms == 1 and "seconds" in block else list(first)
    best = min(range(forms), key=lambda i: ("seconds", "milliseconds", "clock", "frames").index(kinds[i]))
    unit_s = 1e-3 if kinds[best] == "milliseconds" else 1.0
    times = {role: Time(start + best + n * forms, unit_s) for n, role in enumerate(_ORDER[:2])}
    after = start + roles * forms
    width = max(map(len, rows))
    files = tuple(i for i in range(after + 1, width) if _holds_files(rows, i))
    values = {after: ""} if after < width else {}
    return Layout(times, values, tier=0 if start else None, files=files)


def _timecode(text: str, rate: float) -> float:
    """Seconds of hh:mm:ss:ff; with NTSC's rate two frames are dropped in all minutes but every tenth."""
    hours, minutes, seconds, frames = map(int, re.split("[:;]", text))
    minutes += hours * 60
    if rate != _NTSC:
        return minutes * 60 + seconds + frames / rate
    number = (minutes * 60 + seconds) * 30 + frames - 2 * (minutes - minutes // 10)
    return number / rate
