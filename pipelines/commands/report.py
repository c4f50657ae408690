"""`longtal report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def report_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `report` and `view` share."""
    path = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option("--annotations", type=path, help="Truth to compare with; a run's own by default."),
            click.option("--subset", help="Subset of the annotations, such as validation."),
            click.option("--videos", type=path, help="Folder of the video files; a run's own by default."),
            click.option("--tiou", help="tIoU limits of the mAP: start:stop:step, or a list; 0.3:0.7:0.1."),
            click.option(
                "--max-per-video",
                type=click.IntRange(1),
                default=200,
                show_default=True,
                help="Detections of a video that the page holds, best first.",
            ),
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@report_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace the page if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    source: Path,
    annotations: Path | None,
    subset: str | None,
    videos: Path | None,
    tiou: str | None,
    max_per_video: int,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write one self-contained HTML page about a run or predictions.

    SOURCE is a run folder, a predictions file, or a folder that `longtal predict` wrote. The page shows each
    video with a timeline of truth and detections, a table of classes, what goes wrong, and, for a run, its
    training curves and the age of its memory. It loads nothing from the network; videos are named by their
    place beside the page.

    \b
    Examples:
      longtal report runs/first --out first.html
      longtal report predictions.json --annotations truth.json --subset validation --videos videos/
    """
    from pipelines.report import collect, write_report
    from pipelines.shared import console
    from pipelines.shared.files import require_new
    from tal.metrics import parse_tiou

    require_new([out], overwrite)
    limits = parse_tiou(tiou) if tiou else None
    report = collect(source, annotations, subset, videos, limits, max_per_video)
    write_report(report, out, overwrite)
    summary = {
        "out": str(out),
        "videos": len(report.videos),
        "video_files": sum(video.file is not None for video in report.videos),
        "average_mAP": report.scores.average_mAP if report.scores else None,
        "notes": report.notes,
    }
    if as_json:
        console.print_json(summary)
        return
    for note in report.notes:
        console.log.info(note)
    console.out.print(
        f"{out}: {summary['videos']} videos, {summary['video_files']} with their file. "
        f"Open it in a browser, or run: longtal view {out}",
        markup=False,
    )
