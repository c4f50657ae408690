"""`longtal store status`: how far stores are filled."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("stores", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--watch", "watching", is_flag=True, help="Look again until all is done.")
@click.option(
    "--every",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds between two looks; with --watch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch a line for each change.")
def status(stores: tuple[Path, ...], watching: bool, every: float, as_json: bool) -> None:
    """Print how far STORES are: videos done, failed, running and waiting; rows a second; time left.

    What is committed counts, so a store may be written to meanwhile. The rate is that of the ten minutes
    before its newest row. With --watch the command ends when no video waits any more; with exit code 1 if
    some failed.

    \b
    Example:
      longtal store status features.zarr --watch
      longtal store status part*.zarr --watch --json > progress.jsonl
    """
    from rich.live import Live

    from pipelines.shared import console
    from pipelines.shared.tables import build_table
    from pipelines.store import status as pipeline

    found = {}
    if watching and not as_json and console.out.is_terminal:
        with Live(console=console.out, auto_refresh=False) as live:
            for found in pipeline.watch(stores, every):
                live.update(build_table(pipeline.table(found), console.out.width), refresh=True)
    else:
        for found in pipeline.watch(stores, every, once=not watching):
            if as_json and watching:
                click.echo(pipeline.line(found))
            elif as_json:
                console.print_json(pipeline.as_json(found))
            else:
                console.print_table(pipeline.table(found))
    if watching and any(each.failed for each in found.values()):
        click.get_current_context().exit(1)
