"""Delimited text as rows of cells, with what can be wrong with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.annotations.files import read_text, write_text
from tal.errors import AnnotationError


def read_rows(path: Path, delimiter: str | None = None) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty.

    ``delimiter`` None: told by the first line that has one: a tab, else the semicolon or the comma, whichever
    is more often in it.

    Raises
    ------
    AnnotationError
        the file cannot be read, or is not a table.
    """
    text = read_text(path)
    if delimiter is None:
        delimiter = next(filter(None, map(_delimiter_of, io.StringIO(text))), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    try:
        for cells in reader:
            if any(c.strip() for c in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise AnnotationError(f"{path}, line {reader.line_num}: not a table: {error}") from None
    return rows


def _delimiter_of(line: str) -> str:
    """The delimiter of a line; "" where it has none."""
    if "\t" in line:
        return "\t"
    commas, semicolons = line.count(","), line.count(";")
    return ";" if semicolons > commas else "," if commas else ""


def dict_rows(
    path: Path, rows: Sequence[tuple[int, list[str]]], needed: Iterable[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, cells by column name) of the rows under the first, which names the columns."""
    if not rows:
        raise AnnotationError(f"{path}: empty table")
    header = [c.strip() for c in rows[0][1]]
    missing = [n for n in needed if n not in header]
    if missing:
        raise AnnotationError(f"{path}: lacks the columns {missing}; it has {header[:20]}")
    for line, cells in rows[1:]:
        yield f"{path.name}, line {line}", dict(zip(header, cells, strict=False))


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
    """
    if path.suffix.lower() == ".csv":
        return {
            c["id"].strip(): c["key"].strip() for _, c in dict_rows(path, read_rows(path, ","), ("id", "key"))
        }
    names = {}
    for line in read_text(path).splitlines():
        number, _, name = line.strip().partition(" ")
        if number:
            names[number] = name.strip() or number
    return names


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
