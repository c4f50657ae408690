"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tal.shared.defaults import READERS


def reader_option(
    default: str | None = "auto", help: str = "Reader of the videos; auto is pyav."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--reader``, of every command that opens videos; ``default`` None: another place says which."""
    return click.option(
        "--reader", type=click.Choice(READERS), default=default, show_default=default is not None, help=help
    )
