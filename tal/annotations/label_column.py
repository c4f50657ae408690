"""Which of several columns of a table holds the labels.

Tables have names of classes beside their numbers, or beside a mark that says whether the action is there at
all: HACS' clips have ``classname`` and a ``label`` of 1 or -1.
"""

from __future__ import annotations

from collections.abc import Mapping

from tal.annotations.builder import Builder
from tal.annotations.columns import Column, label_columns
from tal.annotations.rows import Table
from tal.errors import AnnotationError

_PRESENT = "present"  # our name of the column that marks negative examples
_MARKS = {"-1", "0", "1"}


def choose_label(table: Table, build: Builder) -> dict[str, Column]:
    """The column of labels and, if there is one, that which marks negative examples; notes say which.

    Names win over numbers. A number is a class's where every name has one number alone; where it is 1 for
    some rows of a name and 0 or -1 for others, it says whether the action is there.

    Raises
    ------
    AnnotationError
        a column of numbers says something else than the names do, and nobody can tell what is meant.
    """
    candidates = label_columns(table.header)
    if len({c.header for c in candidates}) != len(candidates):
        return {}  # one name twice: `rows_by_column` refuses it
    numbers = [c for c in candidates if _all_whole_numbers(table, c)]
    names = [c for c in candidates if c not in numbers]
    label = (names or candidates)[0]
    others = [c for c in candidates if c != label]
    chosen = {"label": label}
    for other in others:
        if not names or other in names or _one_number_a_name(table, label, other):
            build.notes.append(f"labels are those of column {label.header!r}; {other.header!r} is not read")
        elif set(_cells(table, other)) <= {*_MARKS, ""} and _PRESENT not in chosen:
            chosen[_PRESENT] = other
            build.notes.append(
                f"labels are those of column {label.header!r}; rows whose {other.header!r} is 0 or -1 are "
                "negative examples"
            )
        else:
            raise AnnotationError(
                f"{table.path}: columns {label.header!r} and {other.header!r} can both be the label, and one "
                "name has several numbers: delete or rename the one that is not"
            )
    return chosen


def is_negative(cells: Mapping[str, str], where: str) -> bool:
    """Whether a row says that its action is not there."""
    if cells.get(_PRESENT) == "":
        raise AnnotationError(f"{where}: does not say whether its action is there (1, 0 or -1)")
    return cells.get(_PRESENT, "1") != "1"


def _cells(table: Table, column: Column) -> list[str]:
    return [cells[column.place].strip() if column.place < len(cells) else "" for _, cells in table.rows[1:]]


def _all_whole_numbers(table: Table, column: Column) -> bool:
    cells = [cell for cell in _cells(table, column) if cell]
    return bool(cells) and all(cell.removeprefix("-").isdecimal() for cell in cells)


def _one_number_a_name(table: Table, names: Column, numbers: Column) -> bool:
    number_of: dict[str, str] = {}
    pairs = zip(_cells(table, names), _cells(table, numbers), strict=True)
    return all(number_of.setdefault(name, number) == number for name, number in pairs)
