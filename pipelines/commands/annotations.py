"""`longtal annotations`: look at annotation files and convert them."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Convert annotation files between formats, and say what is in them."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print the formats as JSON.")
def formats(as_json: bool) -> None:
    """List the formats that are known.

    \b
    Example:
      longtal annotations formats
    """
    import pandas as pd

    from pipelines.shared import console
    from tal.annotations.read import FORMATS

    if as_json:
        console.print_json({name: known.title for name, known in FORMATS.items()})
        return
    console.print_table(pd.DataFrame([(n, f.title) for n, f in FORMATS.items()], columns=["format", "what"]))


@command.command()
@click.argument("paths", nargs=-1, required=True, type=_FILE)
@click.option("--out", required=True, type=_FILE, help="File to write; for THUMOS14's text files a folder.")
@click.option("--from", "source", default="auto", show_default=True, help="Format of the files read.")
@click.option("--to", help="Format to write; default: by suffix (.json activitynet, .csv table, .txt elan).")
@click.option(
    "--subset", "subsets", multiple=True, help="Subset of files that name none: one, or one a file."
)
@click.option("--rename-subset", "renames", multiple=True, help="OLD=NEW.")
@click.option("--target", default="action", show_default=True, help="EPIC-KITCHENS: verb, noun or action.")
@click.option("--labels", type=_FILE, help="File of class names, for formats that number their classes.")
@click.option("--info", type=_FILE, help="Table of videos that fills in subset, duration and rate.")
@click.option("--keep-duplicates", is_flag=True, help="Keep annotations that repeat another within 1e-3 s.")
@click.option("--ignore-label", multiple=True, default=("Ambiguous",), show_default=True)
@click.option("--manifest", type=_FILE, help="Write which videos and instances were kept, by id.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def convert(
    paths: tuple[Path, ...],
    out: Path,
    source: str,
    to: str | None,
    subsets: tuple[str, ...],
    renames: tuple[str, ...],
    target: str,
    labels: Path | None,
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

    from pipelines.data.annotations import load_many, overview, rename_subsets, save
    from pipelines.shared import console
    from tal.annotations.files import write_text
    from tal.annotations.manifest import manifest as account

    found = load_many(paths, source, subsets, target, labels, info, keep_duplicates, ignore_label)
    found = rename_subsets(found, renames)
    name = save(found, out, to)
    if manifest is not None:
        write_text(manifest, json.dumps(account(found), indent=1, ensure_ascii=False) + "\n")
    if as_json:
        subsets_found = overview(found).to_dict("records")
        console.print_json(
            {"out": str(out), "format": name, "subsets": subsets_found, "notes": list(found.notes)}
        )
        return
    for note in found.notes:
        console.log.warning(note)
    console.print_table(overview(found))
    console.out.print(f"{found.source} ({found.format}) -> {out} ({name})", markup=False)


@command.command()
@click.argument("paths", nargs=-1, required=True, type=_FILE)
@click.option("--from", "source", default="auto", show_default=True, help="Format of the files.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(paths: tuple[Path, ...], source: str, as_json: bool) -> None:
    """Say what is in annotation files: subsets, videos, instances, labels.

    \b
    Example:
      longtal annotations show annotations.json
    """
    from pipelines.data.annotations import load_many, overview
    from pipelines.shared import console

    found = load_many(paths, source)
    if as_json:
        console.print_json(
            {
                "source": found.source,
                "format": found.format,
                "labels": list(found.labels),
                "subsets": overview(found).to_dict("records"),
                "notes": list(found.notes),
            }
        )
        return
    for note in found.notes:
        console.log.warning(note)
    console.print_table(overview(found), title=f"{found.source} ({found.format})")
