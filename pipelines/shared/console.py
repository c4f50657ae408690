"""What every command prints with: one console, tables, progress with ETA, one logger."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

# Results go to stdout, progress and log to stderr, so that `longtal … --json > file` stays clean.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)
log = logging.getLogger("longtal")


def set_quiet(quiet: bool) -> None:
    """Set up the log; quiet leaves warnings and errors only, and no progress bars."""
    err.quiet = False
    log.handlers = [
        RichHandler(console=err, show_path=False, show_time=not quiet, log_time_format="%H:%M:%S")
    ]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False


def is_quiet() -> bool:
    return log.level >= logging.WARNING


@contextmanager
def progress(unit: str = "") -> Iterator[Progress]:
    """Progress bars with rate and ETA on stderr; add tasks with ``add_task(description, total=…)``."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(show_speed=True),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=err,
        disable=is_quiet(),
    )
    with bar:
        yield bar


def print_table(frame: pd.DataFrame, title: str | None = None, digits: int = 3) -> None:
    """Print a DataFrame as a table on stdout."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in frame.columns:
        numeric = frame[name].dtype.kind in "fiu"
        table.add_column(str(name), justify="right" if numeric else "left")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(f"{v:.{digits}f}" if isinstance(v, float) else printable(v)) for v in row))
    out.print(table)


def printable(value: object) -> str:
    """Text from a file as a terminal may show it: no control characters, no escape sequences."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def print_json(value: object) -> None:
    """Print a value as JSON on stdout, and nothing else."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
