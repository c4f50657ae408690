"""Delimited text as rows of cells, with what can be wrong with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tal.annotations.files import read_text, write_text
from tal.errors import AnnotationError


def read_rows(path: Path, delimiter: str | None = None) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty; ``delimiter`` None: tab if the text has one,
    else the comma, or the semicolon where there is no comma."""
    text = read_text(path)
    if delimiter is None:
        head = text[:4000]
        delimiter = "\t" if "\t" in head else "," if "," in head else ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    try:
        for cells in reader:
            if any(c.strip() for c in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise AnnotationError(f"{path}, line {reader.line_num}: not a table: {error}") from None
    return rows


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
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_class_list(path: Path) -> dict[str, str]:
    """Class id -> name of a list: lines ``c000 Holding some clothes`` or ``1 BaseballPitch``, or EPIC's CSV
    (id, key)."""
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
