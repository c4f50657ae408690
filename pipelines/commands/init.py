"""`longtal init`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.options import FileOrUrl, reader_option
from tal.shared.defaults import DEFAULT_ENCODER, ReaderName

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--videos", type=_PATH, required=True, help="Folder of the video files.")
@click.option(
    "--annotations", type=FileOrUrl(), required=True, help="Annotation file, in any supported format."
)
@click.option("--out", type=_PATH, required=True, metavar="PROJECT", help="Folder to make.")
@click.option(
    "--encoder",
    default=DEFAULT_ENCODER,
    show_default=True,
    help="Encoder; see `longtal encoders`.",
)
@reader_option()
@click.option("--seed", default=0, show_default=True, help="Seed of the split, where a new one is made.")
@click.option("--estimate/--no-estimate", default=True, help="Train a few steps, to estimate the costs.")
@click.option("--device", help="Device to estimate for, cpu, cuda or mps; default: the one that trains.")
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    default=12.0,
    show_default=True,
    help="Longest time, extraction included, above which a note says so; no setting changes.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing project.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings and choices as JSON.")
def command(
    videos: Path,
    annotations: Path,
    out: Path,
    encoder: str,
    reader: ReaderName,
    seed: int,
    estimate: bool,
    device: str | None,
    hours: float,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Derive a ready configuration from your own videos and annotations.

    Looks at every video and annotation, then writes PROJECT/longtal.yaml, in which each value is explained,
    and PROJECT/annotations.json, which holds the videos that can be used, with their split. A split in the
    annotations is kept; else a fifth of the videos is held out, by class. Settings follow from the data. What
    they cost here is estimated from a few real steps, as `longtal plan` measures them; that changes none.

    \b
    Example:
      longtal init --videos videos/ --annotations labels.csv --out project
      longtal train --config project/longtal.yaml --out project/run
    """
    from pipelines.init import InitOptions, init_project
    from pipelines.shared import console

    options = InitOptions(videos, annotations, out, encoder, seed, overwrite, estimate, device, hours, reader)
    project = init_project(options)
    if as_json:
        console.print_json(
            {
                "config": str(project.config),
                "annotations": str(project.annotations),
                "videos": len(project.survey.infos),
                "missing": project.survey.missing,
                "broken": project.survey.broken,
                "classes": project.survey.class_counts,
                "split": project.split.reason,
                "choices": {
                    key: {"value": c.value, "why": c.why} for key, c in project.choices.by_key.items()
                },
                "estimate": project.estimate.to_json() if project.estimate else None,
                "notes": project.notes,
                "next": project.commands,
            }
        )
        return
    import pandas as pd

    shown = ("data.fps", "encoder.clip_frames", "window.num_rows", "localizer.decoder.levels", "train.epochs")
    rows = [
        {"setting": key, "value": str(project.choices[key]), "because": project.choices.by_key[key].why}
        for key in shown
    ]
    console.print_table(pd.DataFrame(rows), title=f"{project.config} (more in the file)")
    console.out.print(f"split: {project.split.reason}", markup=False)
    for line in project.estimate.lines() if project.estimate else []:
        console.out.print(line, markup=False)
    for note in project.notes:
        console.log.warning(note)
    console.out.print("next:", *project.commands, sep="\n  ", markup=False)
