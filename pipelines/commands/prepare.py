"""`longtal prepare`: re-encode videos for fast random access."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.options import FileOrUrl, reader_option

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--videos", type=_PATH, required=True, help="Folder of video files.")
@click.option("--out", type=_PATH, required=True, help="Folder for the new files, ID.mp4 each.")
@click.option("--annotations", type=FileOrUrl(), help="Only videos that this file names.")
@click.option("--subset", help="Only videos of this subset of the annotations.")
@click.option("--fps", type=float, default=5.0, show_default=True, help="Frames a second of the run.")
@click.option(
    "--size", type=int, default=128, show_default=True, help="Short side of the pictures, in pixels."
)
@click.option(
    "--max-frames",
    type=int,
    default=0,
    help="Frames per video at most; longer videos are sampled more slowly.",
)
@click.option("--gop", type=int, default=8, show_default=True, help="Pictures between key frames.")
@click.option("--crf", type=int, default=18, show_default=True, help="Quality of x264, lower is better.")
@click.option(
    "--clip-frames", type=int, default=16, show_default=True, help="Frames of a clip, to measure the gain on."
)
@reader_option()
@click.option("--workers", type=int, default=1, show_default=True, help="Number of processes.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    videos: Path,
    out: Path,
    annotations: Path | None,
    subset: str | None,
    fps: float,
    size: int,
    max_frames: int,
    gop: int,
    crf: int,
    clip_frames: int,
    reader: str,
    workers: int,
    as_json: bool,
) -> None:
    """Re-encode videos at a run's rate and size with many key frames, and show the gain.

    \b
    Example:
      longtal prepare --videos clips --out clips_5fps --fps 5 --size 128
    """
    from pipelines.data.prepare import PrepareConfig, prepare
    from pipelines.shared import console

    report = prepare(
        PrepareConfig(
            videos, out, fps, size, max_frames, gop, crf, annotations, subset, workers, clip_frames, reader
        )
    )
    if as_json:
        console.print_json(
            {
                "done": len(report.done),
                "kept": len(report.kept),
                "failed": report.failed,
                "missing": list(report.missing),
                "gain": report.gain.to_dict("records"),
                "wall_s": report.wall_s,
            }
        )
    else:
        if report.failed:
            import pandas as pd

            failed = pd.DataFrame(list(report.failed.items()), columns=["video", "reason"])
            console.print_table(failed, title="failed videos")
        if len(report.gain):
            console.print_table(report.gain, title="gain")
        console.out.print(
            f"{out}: {len(report.done)} videos re-encoded in {report.wall_s:.1f} s, {len(report.kept)} kept, "
            f"{len(report.failed)} failed, {len(report.missing)} missing"
        )
    if report.failed:
        click.get_current_context().exit(1)
