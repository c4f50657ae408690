"""The output of every command: one console, tables, progress with ETA, one logger."""

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

from pipelines.shared.tables import build_table, printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["err", "is_quiet", "log", "out", "print_json", "print_table", "printable", "progress", "set_quiet"]

# Results go to stdout, progress and log to stderr, so that `longtal … --json > file` stays clean.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)
log = logging.getLogger("longtal")
_ENDLESS = 1_000_000  # characters: lines of a pipe are never folded
_brief = False  # `brief`


class _Printable(logging.Formatter):
    """Messages in which names from files can do a terminal nothing."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def set_quiet(quiet: bool) -> None:
    """Set up the log; quiet leaves warnings and errors only, and no progress bars."""
    err.quiet = False
    handler = RichHandler(console=err, show_path=False, show_time=not quiet, log_time_format="%H:%M:%S")
    handler.setFormatter(_Printable())
    log.handlers = [handler]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False


def is_quiet() -> bool:
    return log.level >= logging.WARNING


@contextmanager
def brief() -> Iterator[None]:
    """News stay out of the log and bars go when they are full: for stages of which a line each is said."""
    global _brief
    levels = [(handler, handler.level) for handler in log.handlers]
    for handler, _ in levels:
        handler.setLevel(logging.WARNING)
    _brief = True
    try:
        yield
    finally:
        _brief = False
        for handler, level in levels:
            handler.setLevel(level)


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
        transient=_brief,
        # a bar that goes leaves nothing in a file but an empty line
        disable=is_quiet() or (_brief and not err.is_terminal),
    )
    with bar:
        yield bar


def print_table(frame: pd.DataFrame, title: str | None = None, digits: int = 3) -> None:
    """Print a DataFrame as a table on stdout: fitted to a terminal, whole in a pipe or a file."""
    if out.is_terminal:
        out.print(build_table(frame, out.width, title, digits), soft_wrap=False)
        return
    whole = Console(file=out.file, width=_ENDLESS, highlight=False)
    with whole.capture() as captured:
        whole.print(build_table(frame, None, title, digits))
    lines = (line.rstrip() for line in captured.get().splitlines())
    out.print("\n".join(lines), markup=False)


def print_json(value: object) -> None:
    """Print a value as JSON on stdout, and nothing else."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
