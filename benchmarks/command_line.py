"""How the benchmarks that are click commands end."""

from __future__ import annotations

import sys

import click


def run(command: click.Command, module: str) -> None:
    """Run the command of ``python -m MODULE``; an error of ours is one line and exit code 2."""
    from featstore.errors import LongtalError

    try:
        command.main(prog_name=f"python -m {module}")
    except LongtalError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
