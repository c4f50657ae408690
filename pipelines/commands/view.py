"""`longtal view`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.report import report_options


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@report_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any that is free."
)
@click.option("--open/--no-open", "open_browser", default=True, help="Open the page in the browser.")
def command(
    source: Path,
    annotations: Path | None,
    subset: str | None,
    videos: Path | None,
    tiou: str | None,
    max_per_video: int,
    port: int,
    open_browser: bool,
) -> None:
    """Serve a report with its videos on this machine, until Ctrl-C.

    SOURCE is what `longtal report` takes, or a page that it wrote. The server listens on 127.0.0.1 only and
    sends nothing but the page and the videos that it names. On a machine far away, forward the port: `ssh
    -L 8765:127.0.0.1:8765 HOST` and `longtal view --port 8765 --no-open`.

    \b
    Examples:
      longtal view report.html
      longtal view runs/first
      longtal view predictions.json --videos videos/ --port 8765 --no-open
    """
    from pipelines.report import collect
    from pipelines.report.serve import serve_page, serve_report
    from pipelines.shared import console
    from tal.metrics import parse_tiou

    if source.suffix.lower() in (".html", ".htm"):
        server = serve_page(source, port)
    else:
        limits = parse_tiou(tiou) if tiou else None
        server = serve_report(collect(source, annotations, subset, videos, limits, max_per_video), port)
    with server:
        console.out.print(f"{server.address}  ({len(server.videos)} videos; Ctrl-C ends)", markup=False)
        if open_browser:
            click.launch(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.log.info("ended")
