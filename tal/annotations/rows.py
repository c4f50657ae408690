"""Tables of delimited text, with what can be wrong with them; lists of classes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tal.annotations.decimals import Decimals
from tal.annotations.delimited import find_delimiter, split_rows
from tal.annotations.files import read_text
from tal.annotations.labels import clean_label
from tal.errors import AnnotationError
from tal.shared.files import write_text


@dataclass(frozen=True)
class Table:
    """Rows of a delimited text.

    Attributes
    ----------
    delimiter
        what separates the cells.
    rows
        (line number, cells) of every line that is not empty.
    """

    path: Path
    delimiter: str
    rows: Sequence[tuple[int, list[str]]]

    @property
    def header(self) -> list[str]:
        """Cells of the first row without blanks around them; none in an empty table."""
        return [cell.strip() for cell in self.rows[0][1]] if self.rows else []

    def below(self, number: int) -> Table:
        """The same without its first rows."""
        return replace(self, rows=self.rows[number:])

    def where(self, line: int) -> str:
        """A line, for messages."""
        return f"{self.path.name}, line {line}"

    def dicts(
        self, needed: Iterable[str] = (), used: Iterable[str] = ()
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """(where, cells by column name) of the rows under the header; cells that are not there are empty.

        Raises
        ------
        AnnotationError
            the table is empty, lacks a column of ``needed``, has one of ``needed`` or ``used`` twice, or a
            row has more cells than there are columns.
        """
        if not self.rows:
            raise AnnotationError(f"{self.path}: empty table")
        header = self.header
        needed = list(needed)
        if missing := [name for name in needed if name not in header]:
            raise AnnotationError(f"{self.path}: lacks the columns {missing}; it has {header[:20]}")
        counts = Counter(header)
        if twice := [name for name in (*needed, *used) if counts[name] > 1]:
            raise AnnotationError(f"{self.path}: two columns are called {twice[0]!r}: delete or rename one")
        for line, cells in self.rows[1:]:
            self.check_width(line, cells, len(header))
            named = dict.fromkeys(header, "")
            named.update(zip(header, cells, strict=False))
            yield self.where(line), named

    def check_width(self, line: int, cells: Sequence[str], width: int) -> None:
        """Refuse a row with more cells than columns, unless those beyond are empty.

        Raises
        ------
        AnnotationError
            naming the line.
        """
        if any(map(str.strip, cells[width:])):
            hint = (
                "; numbers with a decimal comma need semicolons between cells"
                if self.delimiter == ","
                else ""
            )
            raise AnnotationError(f"{self.where(line)}: {len(cells)} cells under {width} columns{hint}")

    def decimals(self, columns: Iterable[int]) -> Decimals:
        """How the numbers in these columns are written."""
        places = list(columns)
        cells = (cells[i] for _, cells in self.rows[1:] for i in places if i < len(cells))
        return Decimals.told_by(cells, self.delimiter)


def read_table(path: Path) -> Table:
    """A text file as a table; what separates its cells is told by the header line.

    Raises
    ------
    AnnotationError
        the file cannot be read, or nobody can tell where a quotation mark in it ends.
    """
    return parse_table(path, read_text(path))


def parse_table(path: Path, text: str) -> Table:
    """`read_table` of text that was read from ``path``."""
    delimiter = find_delimiter(text)
    return Table(path, delimiter, list(split_rows(text, delimiter, path.name)))


def write_rows(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ","
) -> None:
    """Write a table with a header; floats keep every digit."""
    text = io.StringIO(newline="")
    sparing = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    quoting = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    sparing.writerow(header)
    for row in rows:
        # Readers take a carriage return for the end of the line, and csv does not quote it by itself.
        (quoting if any("\r" in str(cell) for cell in row) else sparing).writerow(row)
    write_text(path, text.getvalue())


def read_class_list(path: Path) -> dict[str, str]:
    """Class id -> name of a list: lines ``c000 Holding some clothes`` or ``1 BaseballPitch``, or EPIC's CSV
    (id, key).

    Raises
    ------
    AnnotationError
        an id has two names, or a name two ids.
    """
    names: dict[str, str] = {}
    of_name: dict[str, str] = {}
    for where, number, name in _listed(path):
        name = clean_label(name) or number
        if names.setdefault(number, name) != name:
            raise AnnotationError(f"{where}: class {number!r} is {names[number]!r} already, not {name!r}")
        if of_name.setdefault(name, number) != number:
            raise AnnotationError(f"{where}: classes {of_name[name]!r} and {number!r} are both {name!r}")
    return names


def listed_classes(path: Path, name: str, given: Path | None) -> dict[str, str] | None:
    """Class id -> name of the list that was ``given``, else of the file ``name`` beside ``path``.

    None without either. Raises as `read_class_list` does.
    """
    beside = path.parent / name
    found = given or (beside if beside.is_file() else None)
    return read_class_list(found) if found else None


def _listed(path: Path) -> Iterator[tuple[str, str, str]]:
    """(where, id, name) of a list of classes."""
    if path.suffix.lower() == ".csv":
        for where, cells in read_table(path).dicts(("id", "key")):
            yield where, cells["id"].strip(), cells["key"]
        return
    for line, text in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if parts := text.split(maxsplit=1):
            yield f"{path.name}, line {line}", parts[0], parts[1] if len(parts) > 1 else ""


def name_of_class(names: Mapping[str, str], number: str, where: str) -> str:
    """A class's name; where there is no list, its number.

    Raises
    ------
    AnnotationError
        the list does not have it; the message begins with ``where``.
    """
    if names and number not in names:
        raise AnnotationError(f"{where}: class {number[:60]!r} is not in the list of {len(names)} classes")
    return names.get(number, number)


def write_class_list(path: Path, names: Mapping[str, str]) -> None:
    """Write a list that `read_class_list` reads: class id -> name, one per line.

    Raises
    ------
    AnnotationError
        a name cannot stand on a line, or another list lies there already: files beside it need that one.
    """
    if bad := [name for name in names.values() if name != name.strip() or len(name.splitlines()) != 1]:
        raise AnnotationError(f"{path.name} holds one name a line, without blanks around it, not {bad[0]!r}")
    if path.exists() and read_class_list(path) != names:
        raise AnnotationError(
            f"{path}: lists other classes, which files beside it may need: write to another folder"
        )
    write_text(path, "".join(f"{number} {name}\n" for number, name in names.items()))
