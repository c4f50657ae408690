"""`longtal report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import (
    FileOrUrl,
    max_per_video_option,
    open_option,
    port_option,
    run_server,
)

if TYPE_CHECKING:
    from pipelines.report import Report


_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--annotations", type=FileOrUrl(), help="Ground truth to compare with; a run's own by default.")
@click.option("--subset", help="Subset of the annotations, such as validation.")
@click.option("--videos", type=_PATH, help="Folder of the video files; a run's own by default.")
@click.option("--tiou", help="tIoU thresholds of the mAP, start:stop:step or a list; default: 0.3:0.7:0.1.")
@max_per_video_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="Page to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@click.option(
    "--serve", is_flag=True, help="Serve page and videos on this machine, until Ctrl-C; write nothing."
)
@port_option
@open_option
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def command(
    source: Path,
    annotations: Path | None,
    subset: str | None,
    videos: Path | None,
    tiou: str | None,
    max_per_video: int,
    out: Path,
    overwrite: bool,
    serve: bool,
    port: int,
    open_browser: bool,
    as_json: bool,
) -> None:
    """Write one self-contained HTML page about a run or predictions.

    SOURCE is a run folder, a predictions file, or a folder that `longtal predict` wrote. The page shows each
    video with a timeline of ground truth and detections, a table of classes, the errors by kind, and, for a
    run, its training curves and the age of its memory. It loads nothing from the network; videos are named
    by their path relative to the page.

    With --serve SOURCE may also be a page that was written before. The server listens on 127.0.0.1 only and
    sends nothing but the page and its videos. For a server on another machine, forward the port:
    `ssh -L 8765:127.0.0.1:8765 HOST`, and there `longtal report RUN --serve --port 8765 --no-open`.

    \b
    Examples:
      longtal report runs/first --out first.html
      longtal report predictions.json --annotations truth.json --subset validation --videos videos/
      longtal report runs/first --serve
    """
    from pipelines.report import collect, write_report
    from pipelines.shared import console
    from pipelines.shared.files import require_new
    from tal.metrics import parse_tiou

    thresholds = parse_tiou(tiou) if tiou else None
    if serve:
        _serve(
            source,
            lambda: collect(source, annotations, subset, videos, thresholds, max_per_video),
            port,
            open_browser,
        )
        return
    require_new([out], overwrite)
    report = collect(source, annotations, subset, videos, thresholds, max_per_video)
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
        f"Open it in a browser, or run: longtal report {out} --serve",
        markup=False,
    )


def _serve(source: Path, gather: Callable[[], Report], port: int, open_browser: bool) -> None:
    """Serve a page that was written before, or one gathered now."""
    from pipelines.report.serve import serve_page, serve_report

    written = source.suffix.lower() in (".html", ".htm")
    server = serve_page(source, port) if written else serve_report(gather(), port)
    with server:
        run_server(server, len(server.videos), open_browser)
