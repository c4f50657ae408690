"""`longtal store`: look after feature stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import FileOrUrl
from pipelines.commands.store_status import status
from pipelines.commands.store_travel import TRAVEL

if TYPE_CHECKING:
    from pipelines.store.feature_files import Layout

_PATH = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Look after feature stores, the long memory.

    \b
    Example:
      longtal store info features.zarr
      longtal store import --features i3d/ --store i3d.zarr --layout tc --fps 30 --stride 4 --window 16
    """


@command.command()
@click.argument("store", type=_PATH)
@click.option("--videos", is_flag=True, help="List the videos too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def info(store: Path, videos: bool, as_json: bool) -> None:
    """Show the contents of STORE: encoder, videos, rows, generation, size, current writer."""
    import pandas as pd

    from featstore import FeatureStore
    from pipelines.shared import console
    from pipelines.store.run import human_bytes, store_info

    facts = store_info(store)
    if as_json:
        console.print_json(facts)
        return
    spec, writer, uncommitted = facts["spec"], facts["writer"], facts["uncommitted_rows"]
    channels = spec["channels"]
    complete, reserved, failed = (facts["videos"][state] for state in ("complete", "reserved", "failed"))
    on_disk, holes = human_bytes(facts["bytes_on_disk"]), human_bytes(facts["bytes_with_holes"])
    lines = {
        "encoder": f"{spec['encoder']} (weights {str(spec['weights'])[:16]})",
        "rows": f"{facts['rows']:,} of {channels} x {spec['dtype']}, {spec['frame_stride']} frames each",
        "videos": f"{complete} complete, {reserved} unfinished, {failed} failed; {facts['hours']} h",
        "generation": f"{facts['generation']}, " + (f"run {run}" if (run := facts["run_id"]) else "pristine"),
        "on disk": f"{on_disk} in {facts['files']} files ({holes} with holes)",
        "to reclaim": human_bytes(facts["reclaimable_bytes"]) + " (longtal store compact)",
        "writer": f"process {writer['pid']} on {writer['host']}, {uncommitted} rows not committed"
        if writer
        else "none",
    }
    console.print_table(pd.DataFrame({"": list(lines), "value": list(lines.values())}), title=str(store))
    if videos:
        with FeatureStore.open(store) as opened:
            frame = opened.videos()[["id", "state", "num_rows", "fps", "duration_s", "num_frames", "reason"]]
        console.print_table(frame)


@command.command()
@click.argument("store", type=_PATH)
@click.option("--sample", type=float, default=1.0, show_default=True, help="Share of the videos to check.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def verify(store: Path, sample: float, as_json: bool) -> None:
    """Compare every row of STORE with its checksum; exit code 1 when a row fails."""
    from pipelines.shared import console
    from pipelines.store.run import verify_store

    failing = verify_store(store, sample)
    if as_json:
        console.print_json(failing.to_dict("records"))
    elif len(failing):
        console.print_table(failing, title=f"{store}: rows whose checksum fails")
        console.out.print("next: longtal store repair, then longtal extract --repair")
    else:
        console.out.print(f"{store}: sound")
    if len(failing):
        click.get_current_context().exit(1)


@command.command()
@click.argument("store", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def repair(store: Path, as_json: bool) -> None:
    """Recover STORE and mend its chunk files; list the rows to extract again (`longtal extract --repair`)."""
    from pipelines.shared import console
    from pipelines.store.run import repair_store

    mended, failing = repair_store(store)
    if as_json:
        console.print_json({"mended": mended, "rows": failing.to_dict("records")})
    else:
        for path in mended:
            console.out.print(f"mended {path}")
        if len(failing):
            console.print_table(failing, title="rows to extract again: longtal extract --repair")
        else:
            console.out.print(f"{store}: sound")
    if len(failing):
        click.get_current_context().exit(1)


@command.command()
@click.argument("store", type=_PATH)
def compact(store: Path) -> None:
    """Free the space of removed and failed videos."""
    from featstore import compact_store
    from pipelines.shared import console
    from pipelines.store.run import human_bytes

    console.out.print(f"{store}: gave back {human_bytes(compact_store(store))}")


@command.command()
@click.argument("store", type=_PATH)
@click.argument("ids", nargs=-1, required=True)
def remove(store: Path, ids: tuple[str, ...]) -> None:
    """Remove the videos IDS from STORE; `compact` then frees their space."""
    from featstore import FeatureStore
    from featstore.layout import read_commit, read_header
    from pipelines.shared import console
    from pipelines.store.run import human_bytes

    read_header(store)
    with FeatureStore.open(store, "r+", run=read_commit(store).run_id) as opened:
        freed = opened.remove(ids)
        opened.commit()
    console.out.print(f"{store}: {len(ids)} videos removed, {human_bytes(freed)} to reclaim")


@command.command()
@click.argument("store", type=_PATH)
@click.argument("target", type=_PATH)
@click.option("--run", "run_id", help="Name of the run that the copy is for; only this run may write it.")
def copy(store: Path, target: Path, run_id: str | None) -> None:
    """Copy the last commit of STORE to TARGET, sharing blocks where the file system can."""
    from pipelines.shared import console
    from pipelines.store.run import copy_store

    console.out.print(f"copied {store} to {copy_store(store, target, run_id)}")


@command.command()
@click.argument("stores", type=_PATH, nargs=-1, required=True)
@click.option("--out", type=_PATH, required=True, help="Store to make.")
def merge(stores: tuple[Path, ...], out: Path) -> None:
    """Make one store of several that were extracted the same way, for example on several machines.

    \b
    Example:
      longtal store merge host1.zarr host2.zarr --out all.zarr
    """
    from featstore import FeatureStore, merge_stores
    from pipelines.shared import console

    merge_stores(out, stores)
    with FeatureStore.open(out) as merged:
        for path in stores:
            with FeatureStore.open(path) as part:
                for remark in part.spec.remarks(merged.spec):
                    console.log.info("%s, compared with %s: %s", path, stores[0], remark)
        console.out.print(f"{out}: {len(merged)} videos of {len(stores)} stores")


@command.command()
@click.argument("store", type=_PATH)
@click.option(
    "--config",
    "source",
    required=True,
    metavar="YAML|PRESET",
    help="Configuration of the run that is to train on several hosts.",
)
@click.option("--parts", type=click.IntRange(min=1), required=True, help="Number of hosts.")
@click.option("--set", "sets", metavar="A.B=C", multiple=True, help="Change one value; may be given often.")
@click.option("--out", type=_PATH, help="Folder to make; default: NAME.parts beside NAME.zarr.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def split(
    store: Path, source: str, parts: int, sets: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Cut STORE into a store for each host of a training, by the slots of the run's batch.

    Part K holds the training videos of the K-th share of the slots, and a share of the other videos. `merge`
    makes one store of them again.

    \b
    Example:
      longtal store split all.zarr --config run.yaml --parts 2 --out parts
    """
    import pandas as pd

    from pipelines.config import load_config
    from pipelines.shared import console
    from pipelines.train.split import split_by_slots

    made = split_by_slots(store, load_config(source, sets), parts, out)
    table = [
        {
            "store": str(part.store),
            "slots": f"{part.slots.start}-{part.slots.stop - 1}",
            "training videos": part.training,
            "other videos": part.others,
            "rows": part.rows,
        }
        for part in made
    ]
    if as_json:
        console.print_json(table)
    else:
        console.print_table(pd.DataFrame(table), title=f"{store}, split")


@command.command(name="import")
@click.option(
    "--features",
    required=True,
    metavar="PATH|URL",
    help="Folder of feature files: ID.npy, ID.npz or ID.pt. Those of a URL are fetched first.",
)
@click.option("--store", type=_PATH, required=True, help="Store to make.")
@click.option(
    "--layout",
    type=click.Choice(["tc", "ct"]),
    required=True,
    help="Axes of the arrays; tc: [rows, C], ct: [C, rows].",
)
@click.option("--stride", type=int, required=True, help="Frames between neighbouring rows.")
@click.option("--window", type=int, default=0, help="Frames that one row is made of; default: the stride.")
@click.option(
    "--fps",
    type=float,
    default=0.0,
    help="Frames a second that the features were made at; default: each video's, from --annotations.",
)
@click.option("--annotations", type=FileOrUrl(), help="Annotation file with the videos' fps and duration.")
@click.option(
    "--encoder", default="imported", show_default=True, help="Name of the network that made the features."
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Type of the numbers in the store.",
)
@click.option("--key", help="Name of the array in .npz files, or of the entry in .pt dictionaries.")
@click.option("--prefix", default="", help="Part of the file names before the id's last part, such as v_.")
@click.option("--suffix", default="", help="Part of the file names after the id.")
@click.option(
    "--rows", type=int, default=0, help="Number of rows to resample every video to; default: not resampled."
)
@click.option("--skip-bad", is_flag=True, help="List files that cannot be imported, instead of stopping.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def import_command(
    features: str,
    store: Path,
    layout: Layout,
    stride: int,
    window: int,
    fps: float,
    annotations: Path | None,
    encoder: str,
    dtype: str,
    key: str | None,
    prefix: str,
    suffix: str,
    rows: int,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Import features made elsewhere into a new store. Row g lies at second (g * stride + window / 2) / fps.

    \b
    Example:
      longtal store import --features i3d/ --store i3d.zarr --layout tc --fps 30 --stride 4 --window 16
      longtal store import --features s3://bucket/i3d --store i3d.zarr --layout tc --fps 30 --stride 4

    --rows N resamples every video linearly to N rows, each standing for its share of the video (ActionFormer
    on ActivityNet-1.3 has 192); the rows must lie side by side (--window equal to --stride, or not given).
    """
    from pipelines.shared import console
    from pipelines.store.features import ImportOptions, import_features
    from pipelines.store.fetched_features import features_here
    from pipelines.store.run import annotated_videos

    options = ImportOptions(layout, fps, stride, window, encoder, dtype, key, prefix, suffix, rows)
    videos = annotated_videos(annotations) if annotations else None
    with features_here(features, store) as folder:
        report = import_features(folder, store, options, videos, skip_bad)
    if as_json:
        console.print_json(report)
    else:
        console.out.print(
            f"{store}: {report['videos']} videos, {report['rows']:,} rows of {report['channels']}"
        )
        for note in report["notes"]:
            console.out.print(f"note: {note}", markup=False)
        for video_id, reason in report["failed"].items():
            console.err.print(f"failed: {video_id}: {reason}", markup=False)
        missing = report["annotated_without_file"]
        if missing:
            console.err.print(
                f"{len(missing)} annotated videos have no feature file: {', '.join(missing[:5])} ..."
            )
    if report["failed"]:
        click.get_current_context().exit(1)


@command.command()
@click.argument("store", type=_PATH)
@click.argument("folder", type=_PATH)
@click.option(
    "--layout",
    type=click.Choice(["tc", "ct"]),
    default="tc",
    show_default=True,
    help="Axes of the arrays; tc: [rows, C], ct: [C, rows].",
)
def export(store: Path, folder: Path, layout: str) -> None:
    """Write each complete video of STORE as FOLDER/ID.npy, and features.json with the grid.

    An id with slashes gives sub-folders.
    """
    from pipelines.shared import console
    from pipelines.store.features import export_features

    console.out.print(f"{folder}: {export_features(store, folder, layout)} files")


for _command in (*TRAVEL, status):
    command.add_command(_command)
