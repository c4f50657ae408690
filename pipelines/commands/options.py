"""Options that several commands have, and how those that serve a page do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tal.shared.defaults import READERS

if TYPE_CHECKING:
    from pipelines.actors import Actors
    from pipelines.report.loopback import LoopbackServer


class FileOrUrl(click.Path):
    """A file, given by its path or by a URL; what a URL names is fetched, and its path here taken."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "://" in value:
            from pipelines.shared.fetched import file_here

            return file_here(value)
        return super().convert(value, param, ctx)


port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port of the server; 0: any free one.",
)
open_option = click.option(
    "--open/--no-open", "open_browser", default=True, help="Open the browser when the server is there."
)
max_per_video_option = click.option(
    "--max-per-video",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Number of detections per video on the page; the best are kept.",
)


def ray_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--ray``, ``--actors`` and ``--video-timeout``, of every command that works on many videos."""
    options = (
        click.option(
            "--ray",
            metavar="local|auto|HOST:PORT",
            help="Share the videos among actors of Ray: on this machine, in its cluster, or in that one.",
        ),
        click.option(
            "--actors", type=click.IntRange(1), help="Number of actors of --ray.  [default: one for each GPU]"
        ),
        click.option(
            "--video-timeout",
            type=click.FloatRange(0, min_open=True),
            help="Seconds that an actor of --ray may take for a video, which fails then.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_actors(ray: str | None, actors: int | None, video_timeout: float | None) -> Actors | None:
    """What the `ray_options` say; None without ``--ray``."""
    if ray is None:
        if actors is not None or video_timeout is not None:
            raise click.UsageError("--actors and --video-timeout go with --ray")
        return None
    from pipelines.actors import Actors

    return Actors(ray, actors or 0, video_timeout)


def run_server(server: LoopbackServer, num_videos: int, open_browser: bool, ended: str = "ended") -> None:
    """Say where a server is, and run it until Ctrl-C, which the log answers with ``ended``."""
    from pipelines.shared import console

    console.out.print(f"{server.address}  ({num_videos} videos; Ctrl-C ends)", markup=False)
    if open_browser:
        click.launch(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        console.log.info("%s", ended)


def reader_option(
    default: str | None = "auto", help: str = "Reader of the videos; auto is pyav."
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--reader``, of every command that opens videos; ``default`` None: another place says which."""
    return click.option(
        "--reader", type=click.Choice(READERS), default=default, show_default=default is not None, help=help
    )
