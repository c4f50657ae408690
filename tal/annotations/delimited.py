"""Delimited text into cells, with quotation marks as spreadsheets, scripts and people write them.

A cell in quotation marks may hold the delimiter, doubled quotation marks, and line ends. Elsewhere a
quotation mark is a character like any other. A mark that opens a cell and never closes it would swallow the
rows below: between tabs, where quoting is rare, it is taken as a character; between commas and semicolons it
is an error.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from tal.errors import AnnotationError

DELIMITERS = "\t;,|"
# A cell in quotation marks that is longer is not meant to be one.
_MAX_LINES_OF_CELL = 200
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?[ \t;,|]*')


def find_delimiter(text: str) -> str:
    """What separates the cells: the header line says it.

    It is the first line with any of the delimiters outside of quotation marks: a tab wins, else the semicolon
    or the comma, whichever is more often in it, else the bar. A spreadsheet's own first line (``sep=;``) says
    it itself.
    """
    for number, line in enumerate(io.StringIO(text, newline=None)):
        if number == 0 and (match := _SEPARATOR_LINE.fullmatch(line.rstrip("\n"))):
            return match[1]
        bare = re.sub(r'"[^"]*"', "", line)
        counts = {d: bare.count(d) for d in DELIMITERS}
        if counts["\t"]:
            return "\t"
        if counts[";"] or counts[","]:
            return ";" if counts[";"] > counts[","] else ","
        if counts["|"]:
            return "|"
    return ","


def split_rows(text: str, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of every row that is not empty.

    Raises
    ------
    AnnotationError
        a quotation mark of which nobody can tell where it ends; names ``source`` and the line.
    """
    splitter = _Splitter(text, delimiter, source)
    index = 0
    while index < len(splitter.lines):
        first = index
        cells, index = splitter.row(index)
        if any(map(str.strip, cells)) and not (first == 0 and _is_separator_line(splitter.lines[0])):
            yield first + 1, cells


def _is_separator_line(line: str) -> bool:
    return bool(_SEPARATOR_LINE.fullmatch(line.rstrip("\r\n")))


@dataclass
class _Splitter:
    """The text with the places of its lines.

    ``width`` is the greatest number of cells of the rows so far.
    """

    text: str
    delimiter: str
    source: str
    width: int = 0
    lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = list(io.StringIO(self.text, newline=""))

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(map(len, self.lines))]

    @cached_property
    def _quoted(self) -> re.Pattern[str]:
        delimiter = re.escape(self.delimiter)
        return re.compile(rf' *"([^"]*(?:""[^"]*)*)" *(?={delimiter}|\r|\n|\Z)')

    def row(self, index: int) -> tuple[list[str], int]:
        """Cells of the row that begins with a line, and the index of the line after it."""
        bare = self.lines[index].rstrip("\r\n")
        if '"' not in bare:
            cells, after = bare.split(self.delimiter), index + 1
        else:
            cells, after = self._row_with_marks(index)
        self.width = max(self.width, len(cells))
        return cells, after

    def _row_with_marks(self, index: int) -> tuple[list[str], int]:
        cells: list[str] = []
        place, last = self._starts[index], index
        while True:
            end = self._starts[last] + len(self.lines[last].rstrip("\r\n"))
            match = self._quoted.match(self.text, place, end)
            if match is None and self.text[place:end].lstrip(" ").startswith('"'):
                match = self._over_lines(index, last, place)
            if match is not None:
                cells.append(match[1].replace('""', '"'))
                place = match.end()
                last = max(last, bisect_left(self._starts, place) - 1)
                end = self._starts[last] + len(self.lines[last].rstrip("\r\n"))
            else:
                stop = self.text.find(self.delimiter, place, end)
                stop = end if stop < 0 else stop
                cells.append(self.text[place:stop])
                place = stop
            if place >= end:
                return cells, last + 1
            place += 1  # the delimiter

    def _over_lines(self, first: int, last: int, place: int) -> re.Match[str] | None:
        """The cell that a mark at ``place`` opens, if it goes on in the lines below; None: it is a character.

        Rows that are whole by themselves are not part of a cell.
        """
        limit = min(len(self.lines), last + _MAX_LINES_OF_CELL)
        match = self._quoted.match(self.text, place, self._starts[limit])
        width = max(2, self.width) if self.width else max(3, self._num_cells(first))
        if match is None:
            if self._may_be_character(first, last, place, width):
                return None
            raise self._error(first, "opens a cell and does not close it")
        closing = bisect_left(self._starts, match.end()) - 1
        whole = [self._num_cells(line) >= width for line in range(last + 1, closing + 1)]
        begins_whole = self._num_cells(first) >= width and first == last
        if begins_whole and all(whole):
            if self.delimiter == "\t":
                return None
        elif not any(whole[:-1]) and not (begins_whole and any(whole)):
            return match
        raise self._error(first, "opens a cell that would go on over other rows")

    def _may_be_character(self, first: int, last: int, place: int, width: int) -> bool:
        """Whether a mark that nothing closes belongs to the text of its cell."""
        line = self.lines[last]
        cell = self.text[place : self._starts[last] + len(line)].split(self.delimiter)[0]
        closed = cell.count('"') > 1  # "quick" jump
        return closed or (self.delimiter == "\t" and first == last and self._num_cells(first) >= width)

    def _num_cells(self, line: int) -> int:
        return self.lines[line].count(self.delimiter) + 1

    def _error(self, line: int, what: str) -> AnnotationError:
        return AnnotationError(
            f"{self.source}, line {line + 1}: a quotation mark {what}; delete it, or write it twice in a "
            "cell that stands in quotation marks"
        )
