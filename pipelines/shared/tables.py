"""Tables in which names and numbers are never cut, whatever the width.

On a terminal, columns of text shrink and their long names fold; where even that does not fit, the table is
turned: one block of ``name  value`` lines per row. A pipe or a log file gets full width, one line per row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

_GAP = 2  # blanks between columns
_FOLDED_WIDTH = 12  # a column of text does not become narrower
_NUMBER = re.compile(r"[-+±−]?[\d.,]*\d(?: ?%)?(?: ± [\d.,]+)?|nan|")


def printable(value: object) -> str:
    """Text from a file as a terminal may show it: no control characters, no escape sequences."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def build_table(
    frame: pd.DataFrame, width: int | None, title: str | None = None, digits: int = 3
) -> RenderableType:
    """A DataFrame as a table that rich prints.

    Parameters
    ----------
    width
        width of the terminal in characters; None: unlimited, one line per row.
    digits
        decimals of floating-point numbers.
    """
    heads = [printable(name) for name in frame.columns]
    rows = [[_text(value, digits) for value in row] for row in frame.itertuples(index=False)]
    columns = [[row[i] for row in rows] for i in range(len(heads))]
    right = [
        frame.dtypes.iloc[i].kind in "fiu" or (bool(column) and all(map(_NUMBER.fullmatch, column)))
        for i, column in enumerate(columns)
    ]
    widths = _widths(heads, columns, right, width)
    body = _turned(heads, rows, width or 0) if widths is None else _upright(heads, rows, right, widths)
    return Group(Text(printable(title), style="italic"), body) if title else body


def _text(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else printable(value)


def _widths(
    heads: Sequence[str], columns: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> list[int] | None:
    """Width of each column; None where the table does not fit upright."""
    content = [max(map(cell_len, column), default=0) for column in columns]
    widths = [max(cell_len(head), cells) for head, cells in zip(heads, content, strict=True)]
    if width is None:
        return widths
    # a head folds between words; numbers do not fold
    least = [
        max(_longest_word(head), cells if is_number else min(cells, _FOLDED_WIDTH))
        for head, cells, is_number in zip(heads, content, right, strict=True)
    ]
    room = width - _GAP * (len(heads) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        loose = [i for i in range(len(widths)) if widths[i] > least[i]]
        widths[max(loose, key=lambda i: widths[i])] -= 1
    return widths


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _upright(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], widths: Sequence[int]
) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for head, is_number, width in zip(heads, right, widths, strict=True):
        table.add_column(Text(head), justify="right" if is_number else "left", width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _turned(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Group:
    blocks: list[RenderableType] = []
    longest = max(map(cell_len, heads), default=0)
    # the values keep two thirds: a number must not fold
    name_width = max(min(longest, width // 3), max(map(_longest_word, heads), default=0))
    for row in rows:
        block = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
        block.add_column(style="bold", width=name_width, overflow="fold")
        block.add_column(overflow="fold")
        for head, value in zip(heads, row, strict=True):
            block.add_row(Text(head), Text(value))
        blocks += [block, Text("")]
    return Group(*blocks[:-1])
