"""`longtal plot`: draw the timeline of a video."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.options import FileOrUrl


@click.command(short_help="Draw the timeline of a video: ground truth and predictions.")
@click.option(
    "--predictions", type=click.Path(path_type=Path), required=True, help="Predictions, JSON or CSV."
)
@click.option("--annotations", type=FileOrUrl(), help="Ground truth to draw above and compare with.")
@click.option("--video", "video_id", help="Id of the video; not needed where there is only one.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Picture to write (.png, .svg, .pdf)."
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Lowest score to draw."
)
@click.option(
    "--tiou",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Overlap from which a detection is right.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
def command(
    predictions: Path,
    annotations: Path | None,
    video_id: str | None,
    out: Path,
    threshold: float,
    tiou: float,
    overwrite: bool,
) -> None:
    """Draw one video's ground truth and detections over time.

    \b
    Example:
      longtal plot --predictions demo/predictions.json --annotations demo/annotations.json \\
          --video video_0003 --out timeline.png
    """
    from pipelines.plot.run import choose_video, write_timeline
    from pipelines.shared import console
    from tal.annotations import read_annotations, read_predictions
    from tal.annotations.ids import align_ids

    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise click.BadParameter("give a name that ends in .png, .svg or .pdf", param_hint="--out")
    frame = read_predictions(predictions)
    truth = read_annotations(annotations) if annotations is not None else None
    if truth is not None:
        frame, notes = align_ids(frame, truth.videos)
        for note in notes:
            console.log.info("%s", note)
    name = choose_video(frame, video_id, frame.attrs.get("videos", ()))
    annotated = truth.videos.get(name) if truth is not None else None
    if truth is not None and annotated is None:
        console.log.warning("%s has no video %r: drawn without ground truth", annotations, name)
    mine = frame[(frame["video_id"].astype(str) == name) & (frame["score"] >= threshold)]
    write_timeline(
        out,
        mine,
        ground_truth=annotated.segments if annotated is not None else None,
        duration_s=annotated.duration_s if annotated is not None else None,
        title=f"{name} · scores from {threshold:g}",
        tiou=tiou,
        overwrite=overwrite,
    )
    console.out.print(
        f"{len(mine)} of {int((frame['video_id'].astype(str) == name).sum())} detections drawn: {out}"
    )
