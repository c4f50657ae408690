"""`longtal predict`: find actions in new videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import chosen_actors, ray_options, reader_option
from tal.shared.defaults import PRECISIONS, PrecisionName

if TYPE_CHECKING:
    from pipelines.predict.run import PredictReport

_TABLE_ROWS = 40


@click.command(short_help="Find actions in new videos.")
@click.argument("paths", nargs=-1, metavar="VIDEO|FOLDER|GLOB...")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    required=True,
    help="Model folder, its zip, run of `train`, or hf:owner/name[@revision].",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option(
    "--format",
    "formats",
    default="json",
    show_default=True,
    metavar="F,F",
    help=(
        "Formats of the results: json, csv, srt, vtt, eaf, boris, boris_project, "
        "label_studio, vtrace; "
        "predictions.json is always written."
    ),
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Lowest score to write; default: the model's own, per class.",
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    help="Also write the video with the names of its actions over it (.mp4).",
)
@click.option(
    "--from-store", type=click.Path(path_type=Path), help="Read the rows of a feature store, not videos."
)
@reader_option(None, "Reader of the videos; default: the model's, and another is refused.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Precision that the encoder computes in.  [default: that of the model's training]",
)
@ray_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace results of another model or precision, and results edited since they were written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    paths: tuple[str, ...],
    model: Path,
    out: Path,
    formats: str,
    threshold: float | None,
    overlay: Path | None,
    from_store: Path | None,
    reader: str | None,
    device: str,
    precision: PrecisionName | None,
    ray: str | None,
    actors: int | None,
    video_timeout: float | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find actions in videos; no annotations are needed.

    predictions.json holds all detections; the table and the other formats hold those that pass the model's
    calibrated thresholds. With --threshold all of them are cut there. Finished videos are kept: run it
    again to go on.

    \b
    Example:
      longtal predict holiday.mp4 'clips/*.mkv' --model runs/demo --out found --format json,srt
      longtal predict --from-store features.zarr --model runs/hapt --out found
      longtal predict clips --model runs/demo --out found --ray local
    """
    from pipelines.actors.cluster import require_ray
    from pipelines.data.videos import find_stored, find_videos
    from pipelines.predict.overlay import write_overlay
    from pipelines.predict.run import load_detector, predict
    from pipelines.shared import console
    from pipelines.shared.files import require_new
    from pipelines.shared.malloc import keep_freed_buffers
    from tal.annotations.formats.registry import PREDICTION_FILES
    from tal.shared.files import require_folder

    chosen = [name.strip() for name in formats.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in PREDICTION_FILES]:
        raise click.BadParameter(
            f"{unknown[0]!r} is not one of {', '.join(PREDICTION_FILES)}", param_hint="--format"
        )
    require_folder(out)
    if from_store is None and not paths:
        raise click.UsageError("name a video, a folder or a pattern (or --from-store STORE)")
    by = chosen_actors(ray, actors, video_timeout)
    if by is not None and from_store is not None:
        raise click.UsageError("--ray shares videos among actors; rows of --from-store are read here")
    if from_store is not None:
        from featstore import FeatureStore

        with FeatureStore.open(from_store) as store:
            detector = load_detector(model, device, reader, precision)
            videos = find_stored(paths, store.video_ids, from_store)
            report = predict(detector, videos, out, chosen, threshold, store, overwrite)
    else:
        videos = find_videos(paths)
        if overlay is not None and len(videos) != 1:
            raise click.BadParameter(f"goes with one video, not with {len(videos)}", param_hint="--overlay")
        if overlay is not None:
            require_new([overlay], overwrite)
            require_folder(overlay.parent)
        if by is not None:
            require_ray()
        detector = load_detector(model, "cpu" if by is not None else device, reader, precision)
        if detector.device.type == "cpu" and by is None:
            keep_freed_buffers()
        with console.progress() as bar:
            whole = bar.add_task("videos", total=len(videos))
            task = bar.add_task("rows", total=None, visible=False)
            rows: dict[str, tuple[int, int]] = {}  # of the videos begun, of which several may be under way

            def tell(video_id: str, done: int, total: int) -> None:
                rows[video_id] = done, total
                if by is not None:  # no rows come here
                    bar.advance(whole)
                    return
                through = sum(d >= t for d, t in rows.values())
                name = f"rows of {console.printable(video_id)[:40]}"
                if len(rows) - through > 1:
                    name = f"rows of {len(rows) - through} videos"
                begun, all_ = (sum(counts) for counts in zip(*rows.values(), strict=True))
                bar.update(task, completed=begun, total=all_, description=name, visible=True)
                bar.update(whole, completed=through)

            report = predict(detector, videos, out, chosen, threshold, None, overwrite, tell, by, device)
            bar.update(whole, completed=len(videos))
    if overlay is not None and from_store is None and not report.failed:
        ((video_id, path),) = videos.items()
        mine = report.confident[report.confident["video_id"] == video_id]
        with console.progress("pictures") as bar:
            task = bar.add_task("overlay", total=None)
            write_overlay(
                path,
                mine,
                overlay,
                overwrite,
                lambda n, total: bar.update(task, completed=n, total=total),
                detector.config.reader,
            )
        report.files.append(overlay)
    _print(report, list(videos), threshold, as_json)
    if report.failed:
        click.get_current_context().exit(1)


def _print(report: PredictReport, videos: list[str], threshold: float | None, as_json: bool) -> None:
    from pipelines.shared import console

    mine = report.confident[report.confident["video_id"].isin(videos)]
    mine = mine.sort_values(["video_id", "start_s"], kind="stable")
    if as_json:
        console.print_json(
            {
                "videos": {
                    name: part[["start_s", "end_s", "label", "score"]].to_dict("records")
                    for name, part in ((n, mine[mine["video_id"] == n]) for n in videos)
                    if name not in report.failed
                },
                "failed": report.failed,
                "reused": report.reused,
                "notes": report.notes,
                "files": [str(path) for path in report.files],
            }
        )
        return
    if len(mine):
        shown = mine.head(_TABLE_ROWS)
        console.print_table(
            shown.rename(columns={"video_id": "video"})[["video", "start_s", "end_s", "label", "score"]]
        )
        if len(mine) > len(shown):
            console.out.print(f"… and {len(mine) - len(shown)} more in {report.out}")
    how = "the model's thresholds" if threshold is None else f"score {threshold:g}"
    console.out.print(f"{len(mine)} detections above {how} in {len(videos) - len(report.failed)} videos")
    for note in report.notes:
        console.out.print(f"note: {note}", markup=False)
    if report.reused:
        console.out.print(f"{len(report.reused)} videos were finished already and reused")
    for path in report.files[:8]:
        console.out.print(f"written: {path}")
    if len(report.files) > 8:
        console.out.print(f"written: … {len(report.files) - 8} more files in {report.out}")
    for video_id, reason in report.failed.items():
        click.echo(f"failed: {video_id}: {reason}", err=True)
