"""`longtal demo`: from made-up videos to predictions in minutes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Make videos, extract, train, evaluate and predict, in minutes.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make, or to go on with."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of videos and training."
)
@click.option("--videos", type=click.IntRange(4), help="Number of videos.  [default: 88]")
@click.option("--seconds", type=click.FloatRange(8), help="Mean length of a video.  [default: 24]")
@click.option("--set", "sets", metavar="A.B=C", multiple=True, help="Change a value of the preset `demo`.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    out: Path, seed: int, videos: int | None, seconds: float | None, sets: tuple[str, ...], as_json: bool
) -> None:
    """Make videos, extract features, train end to end through the memory, evaluate, predict.

    Nothing is downloaded. Run again after an interruption, it goes on where it stopped; finished stages are
    reused and their results shown.

    \b
    Example:
      longtal demo --out demo
    """
    from pipelines.demo.options import DemoOptions
    from pipelines.demo.run import run_demo
    from pipelines.shared import console

    usual = DemoOptions()
    options = DemoOptions(
        seed=seed, videos=videos or usual.videos, seconds=seconds or usual.seconds, sets=sets
    )
    if not as_json:
        run_demo(out, options)
        return
    with console.out.capture():  # only JSON may stand on stdout
        summary = run_demo(out, options)
    console.print_json(summary)
