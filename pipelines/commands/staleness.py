"""`longtal staleness`: show how old the rows of a store are."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["video", "clip", "row"]),
    default="video",
    show_default=True,
    help="What one line of the table is about.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="Format of the output.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON, as --format json does.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write the table to, instead of printing it."
)
@click.option("--now-step", type=int, help="Step that ages count from; default: the newest in the store.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="PNG file to draw a histogram and a heat map into."
)
@click.option("--limit", type=int, default=40, show_default=True, help="Lines of the printed table; 0: all.")
def command(
    store: Path,
    by: str,
    form: str,
    as_json: bool,
    out: Path | None,
    now_step: int | None,
    plot: Path | None,
    limit: int,
) -> None:
    """Show how old the rows of STORE are, in optimizer steps since they were written.

    Columns: never is the share of rows that were never written; never_refreshed the share that training has
    not written since extraction.

    \b
    Example:
      longtal staleness run/memory.zarr --plot ages.png
      longtal staleness run/memory.zarr --by clip --format csv > ages.csv
    """
    from pipelines.shared import console
    from pipelines.store import staleness as pipeline

    frame = pipeline.staleness_table(store, by, now_step)
    form = "json" if as_json else form
    if form == "table" and out is None:
        shown = frame if not limit or len(frame) <= limit else frame.head(limit)
        console.print_table(pipeline.readable(shown), title=pipeline.headline(store))
        if len(shown) < len(frame):
            console.out.print(
                f"... {len(frame) - len(shown)} more; --limit 0 shows all, --format csv writes all"
            )
    else:
        text = pipeline.render(frame, "csv" if form == "table" else form, out)
        if text is not None:
            click.echo(text, nl=False)
        elif out:
            console.err.print(f"wrote {len(frame)} lines to {out}")
    if plot:
        pipeline.plot(store, plot, now_step)
        console.err.print(f"drew {plot}")
