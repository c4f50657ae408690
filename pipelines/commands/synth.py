"""`longtal synth`: make a data set of synthetic untrimmed videos."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Make a data set of synthetic untrimmed videos.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--videos", type=click.IntRange(1), default=40, show_default=True, help="Number of videos.")
@click.option(
    "--seconds",
    type=click.FloatRange(8.0),
    default=45.0,
    show_default=True,
    help="Mean length of a video.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 1024),
    default=128,
    show_default=True,
    help="Side of the pictures, in pixels.",
)
@click.option(
    "--fps",
    type=click.FloatRange(5.0, 120.0),
    default=15.0,
    show_default=True,
    help="Frames a second.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of every random choice."
)
@click.option(
    "--processes", type=click.IntRange(1), default=None, help="Number of processes; default: one per core."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    out: Path,
    videos: int,
    seconds: float,
    size: int,
    fps: float,
    seed: int,
    processes: int | None,
    as_json: bool,
) -> None:
    """Make untrimmed videos of figures doing twelve labelled actions, with annotations.

    Idle stretches, unlabelled look-alike actions, persons, viewpoints, speeds, textures, moving things,
    camera shake and light vary; the subsets `training`, `validation` and `test` have no person in common.

    \b
    Example:
      longtal synth --out data/synth --videos 40 --seconds 45 --seed 0
    """
    from pipelines.demo.synth import SynthConfig, synthesize
    from pipelines.shared import console

    size += size % 2  # H.264 stores colours at half the size
    config = SynthConfig(videos=videos, seconds=seconds, size=size, fps=fps, seed=seed)
    with console.progress("videos") as bar:
        task = bar.add_task("drawing", total=videos)
        report = synthesize(out, config, processes, lambda _: bar.advance(task))
        bar.update(task, completed=videos)
    if as_json:
        console.print_json(
            {
                "videos": str(report.videos),
                "annotations": str(report.annotations),
                "made": report.made,
                "reused": report.reused,
                "segments": report.segments,
                "subsets": report.subsets,
                "seconds": report.seconds,
            }
        )
        return
    split = ", ".join(f"{name} {count}" for name, count in report.subsets.items())
    reused = f" ({report.reused} were there already)" if report.reused else ""
    console.out.print(
        f"{report.made + report.reused} videos{reused}, {report.seconds / 60:.1f} minutes, {report.segments} "
        f"labelled segments ({split}) in {report.wall_s:.1f} s"
    )
    console.out.print(f"videos: {report.videos}\nannotations: {report.annotations}")
