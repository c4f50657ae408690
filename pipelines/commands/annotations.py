"""`longtal annotations`: describe annotation files and convert them."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.options import FileOrUrl

_FILE = click.Path(path_type=Path)


_frame_rate = click.option(
    "--frame-rate",
    type=click.FloatRange(0, min_open=True),
    help="Frames a second of Label Studio's timeline (frameRate of its Video tag, 24 by default there), "
    "where a task does not say it.",
)


@click.group()
def command() -> None:
    """Convert annotation files between formats, and describe them."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print the formats as JSON.")
def formats(as_json: bool) -> None:
    """List the annotation formats.

    \b
    Example:
      longtal annotations formats
    """
    import pandas as pd

    from pipelines.shared import console
    from tal.annotations.formats.registry import BY_NAME

    titles = {name: file_format.title for name, file_format in BY_NAME.items()}
    if as_json:
        console.print_json(titles)
        return
    console.print_table(pd.DataFrame(titles.items(), columns=["format", "description"]))


@command.command()
@click.argument("paths", nargs=-1, required=True, type=FileOrUrl())
@click.option("--out", required=True, type=_FILE, help="File to write; for THUMOS14's text files a folder.")
@click.option("--from", "source", default="auto", show_default=True, help="Format of the files read.")
@click.option(
    "--to",
    help="Format to write; default: by suffix (.json activitynet, .csv table, .txt elan, .eaf, .boris).",
)
@click.option(
    "--subset",
    "subsets",
    multiple=True,
    help="Subset of the files that do not name one: one for all files, or one per file.",
)
@click.option(
    "--scale-times",
    type=float,
    metavar="FACTOR",
    help="Multiply every time: `check` names the factor where annotations are on another clock.",
)
@click.option(
    "--rename-subset",
    "renames",
    multiple=True,
    metavar="OLD=NEW",
    help="New name of a subset; may be given often.",
)
@click.option(
    "--target",
    default="action",
    show_default=True,
    help="Label to read from EPIC-KITCHENS files: verb, noun or action.",
)
@click.option("--labels", type=_FILE, help="File of class names, for formats that number their classes.")
@_frame_rate
@click.option("--info", type=_FILE, help="Table of subset, duration and frame rate per video, to fill in.")
@click.option("--keep-duplicates", is_flag=True, help="Keep annotations that repeat another within 1e-3 s.")
@click.option(
    "--ignore-label",
    multiple=True,
    default=("Ambiguous",),
    show_default=True,
    help="Label of segments that are kept apart as ignored; may be given often.",
)
@click.option("--manifest", type=_FILE, help="Write the ids of the videos and instances that were kept.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def convert(
    paths: tuple[Path, ...],
    out: Path,
    source: str,
    to: str | None,
    subsets: tuple[str, ...],
    scale_times: float | None,
    renames: tuple[str, ...],
    target: str,
    labels: Path | None,
    frame_rate: float | None,
    info: Path | None,
    keep_duplicates: bool,
    ignore_label: tuple[str, ...],
    manifest: Path | None,
    as_json: bool,
) -> None:
    """Convert annotations; several files become one.

    \b
    Example:
      longtal annotations convert thumos14_txt --out thumos14.json
      longtal annotations convert EPIC_100_train.csv EPIC_100_validation.csv --target verb --out verbs.json
    """
    import json

    from pipelines.data.annotations import (
        load_judgements,
        load_many,
        overview,
        rename_subsets,
        save,
        scaled_times,
        told_of,
    )
    from pipelines.shared import console
    from tal.annotations.corrections import write_corrections
    from tal.annotations.manifest import manifest as account
    from tal.shared.files import write_text

    annotations = load_many(
        paths, source, subsets, target, labels, info, keep_duplicates, ignore_label, frame_rate or 0.0
    )
    annotations = rename_subsets(annotations, renames)
    if scale_times is not None:
        annotations = scaled_times(annotations, scale_times)
    judgements = load_judgements(paths, annotations, source) if to == "corrections" else None
    if judgements is not None and scale_times is None:
        write_corrections(judgements, out)
        name, notes = "corrections", [*annotations.notes, told_of(judgements, annotations)]
    else:
        name, losses = save(annotations, out, to)
        notes = [*annotations.notes, *losses]
    if manifest is not None:
        write_text(manifest, json.dumps(account(annotations), indent=1, ensure_ascii=False) + "\n")
    if as_json:
        rows = overview(annotations).to_dict("records")
        about = {"out": str(out), "format": name, "subsets": rows, "notes": notes}
        console.print_json({**about, "account": annotations.account.to_json()})
        return
    for note in notes:
        console.log.warning(note)
    console.print_table(overview(annotations))
    console.out.print(str(annotations.account), markup=False)
    console.out.print(f"{annotations.source} ({annotations.format}) -> {out} ({name})", markup=False)


@command.command()
@click.argument("paths", nargs=-1, required=True, type=FileOrUrl())
@click.option("--from", "source", default="auto", show_default=True, help="Format of the files.")
@_frame_rate
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON.")
def show(paths: tuple[Path, ...], source: str, frame_rate: float | None, as_json: bool) -> None:
    """Describe annotation files: subsets, videos, instances, labels.

    \b
    Example:
      longtal annotations show annotations.json
    """
    from pipelines.data.annotations import load_many, overview
    from pipelines.shared import console

    annotations = load_many(paths, source, frame_rate=frame_rate or 0.0)
    if as_json:
        console.print_json(
            {
                "source": annotations.source,
                "format": annotations.format,
                "labels": list(annotations.labels),
                "subsets": overview(annotations).to_dict("records"),
                "notes": list(annotations.notes),
                "account": annotations.account.to_json(),
            }
        )
        return
    for note in annotations.notes:
        console.log.warning(note)
    console.print_table(overview(annotations), title=f"{annotations.source} ({annotations.format})")
    console.out.print(str(annotations.account), markup=False)
