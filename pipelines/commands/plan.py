"""`longtal plan`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--config", "source", required=True, metavar="YAML|PRESET", help="Configuration to plan for.")
@click.option("--set", "sets", metavar="A.B=C", multiple=True, help="Change one value; may be given often.")
@click.option("--memory", help="Memory budget, such as 12GB, 11.5GiB or 800MB.")
@click.option(
    "--dataset-size",
    metavar="VIDEOSxSECONDS|NAME",
    help="In place of --memory: what the rows of so many videos of so many seconds take. NAME: thumos14, "
    "activitynet, hacs, kinetics600 or million.",
)
@click.option(
    "--clips-per-second",
    type=click.FloatRange(0, min_open=True),
    help="Clips that a device encodes, as `extract` says; with --dataset-size. Default: measured here.",
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Devices that share the extraction; with --dataset-size.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device to measure on; default: the configuration's.",
)
@click.option(
    "--steps",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    help="Training steps per candidate; after the first the fastest counts.",
)
@click.option(
    "--write", type=click.Path(path_type=Path), help="Write a configuration file with the chosen settings."
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --write.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(
    source: str,
    sets: tuple[str, ...],
    memory: str | None,
    dataset_size: str | None,
    clips_per_second: float | None,
    devices: int,
    device: str | None,
    steps: int,
    write: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure a few training steps and choose what fits a memory budget; or say what a data set takes.

    Chooses the largest share r of a window's clips that can be encoded anew in a step, then the largest
    number of windows at once; the rest of train.batch_size is accumulated. Pictures and rows are made up,
    so that a run end to end can be planned without videos, weights or a store.

    With --dataset-size nothing is trained: rows, bytes and files of the store, hours of the encoder, and what
    goes over the network.

    \b
    Examples:
      longtal plan --config project/longtal.yaml --memory 12GB
      longtal plan --config project/longtal.yaml --memory 4GB --device cpu --write project/small.yaml
      longtal plan --config project/longtal.yaml --dataset-size activitynet --clips-per-second 60 --devices 8
    """
    import yaml

    from pipelines.budget.plan import parse_bytes, plan
    from pipelines.budget.sizing import parse_size, sizing
    from pipelines.config import load_config, nested, parse_sets
    from pipelines.shared import console
    from pipelines.shared.config_paths import portable, with_portable_paths
    from pipelines.shared.files import require_new, write_text
    from pipelines.store.cached import with_store_here

    if (memory is None) == (dataset_size is None) or (dataset_size is not None and write is not None):
        raise click.UsageError("give --memory, with or without --write, or --dataset-size")
    if dataset_size is not None:
        config = load_config(source, [*sets, *([f"train.device={device}"] if device else [])])
        found = sizing(config, parse_size(dataset_size), clips_per_second, devices)
        if as_json:
            console.print_json(found.to_json())
        else:
            console.out.print(*found.lines(), sep="\n", markup=False)
        return
    assert memory is not None
    budget = parse_bytes(memory)
    if write is not None:
        require_new([write], overwrite)
    config = with_store_here(load_config(source, [*sets, *([f"train.device={device}"] if device else [])]))
    chosen = plan(config, budget, steps)
    if write is not None:
        head = f"# Chosen by `longtal plan --memory {memory}`.\n"
        # a file, as this one states it, or a preset's name
        parent = portable(Path(source), write.parent) if Path(source).is_file() else source
        own = with_portable_paths(nested(dict(parse_sets([*sets, *chosen.sets]))), write.parent)
        tree = {"extends": parent, **own}
        write_text(write, head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), overwrite)
    if as_json:
        console.print_json(
            {
                "ratio": chosen.ratio,
                "clips": chosen.clips,
                "num_clips": chosen.num_clips,
                "micro_batch": chosen.micro_batch,
                "batch_size": chosen.batch_size,
                "accumulate": chosen.accumulate,
                "peak_bytes": int(chosen.peak_bytes),
                "optimizer_step_s": round(chosen.optimizer_step_s, 4),
                "set": chosen.sets,
                "probes": [vars(probe) | {"step_s": probe.step_s} for probe in chosen.probes],
            }
        )
        return
    import pandas as pd

    rows = [
        {
            "clips": f"{probe.clips} of {chosen.num_clips}" if chosen.num_clips else "stored",
            "windows at once": probe.micro_batch,
            "peak GB": f"{probe.peak_bytes / 1e9:.2f}" if probe.peak_bytes else "too much",
            "s per micro-batch": f"{probe.step_s:.2f}" if probe.step_s else "",
            "": "fits" if probe.peak_bytes and probe.peak_bytes <= budget else "does not fit",
        }
        for probe in chosen.probes
    ]
    console.print_table(pd.DataFrame(rows), title=f"within {budget / 1e9:.2f} GB")
    console.out.print(
        f"{chosen.peak_bytes / 1e9:.2f} GB and {chosen.optimizer_step_s:.2f} s per optimizer step, with:",
        *(f"--set {setting}" for setting in chosen.sets),
        sep="\n  ",
        markup=False,
    )
