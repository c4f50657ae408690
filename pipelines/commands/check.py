"""`longtal check`: report everything wrong with a data set."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.options import FileOrUrl, reader_option

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--annotations", type=FileOrUrl(), help="Annotations, in any supported format.")
@click.option("--videos", type=_PATH, help="Folder of video files.")
@click.option("--store", type=_PATH, help="Feature store of these videos.")
@click.option(
    "--workers", type=int, default=0, help="Number of processes that open videos.  [default: this one alone]"
)
@click.option("--decode", is_flag=True, help="Decode every picture of the videos: finds damage inside files.")
@reader_option()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(
    annotations: Path | None,
    videos: Path | None,
    store: Path | None,
    workers: int,
    decode: bool,
    reader: str,
    as_json: bool,
) -> None:
    """Report everything wrong with a data set; exit code 1 when something is.

    Missing and unreadable videos, durations that do not match, segments that are out of range, empty or
    doubled, labels that look misspelt, subsets without a label, videos that a store lacks, rows that end
    somewhere else than their video does, and rows that fail their checksum.

    \b
    Example:
      longtal check --annotations anno.json --videos clips --store features.zarr
      longtal check --videos clips --decode --workers 8
    """
    if annotations is None and videos is None and store is None:
        raise click.UsageError("give --annotations, --videos, --store, or several of them")
    from pipelines.data.check import check
    from pipelines.shared import console

    report = check(annotations, videos, store, workers, reader=reader, decode=decode)
    if as_json:
        console.print_json(
            {
                "errors": report.num_errors,
                "problems": report.table().to_dict("records"),
                "subsets": report.subsets.to_dict("records"),
                "notes": list(report.notes),
                "account": None if report.account is None else report.account.to_json(),
            }
        )
    else:
        console.print_table(report.subsets, title="subsets", digits=2)
        for note in report.notes:
            console.out.print(f"note: {note}", markup=False)
        if report.account is not None:
            console.out.print(str(report.account), markup=False)
        if report.problems:
            console.print_table(report.table(), title="findings")
        warnings = len(report.problems) - report.num_errors
        console.out.print(f"{report.num_errors} errors, {warnings} warnings")
    if report.num_errors:
        click.get_current_context().exit(1)
