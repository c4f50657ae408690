"""`longtal train`: train a localizer, or encoder and localizer end to end."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option(
    "--config", "source", metavar="YAML|PRESET", help="Configuration file, or a name of `longtal presets`."
)
@click.option(
    "--from",
    "run",
    metavar="RUN",
    type=click.Path(exists=True, file_okay=False),
    help="Start from this run's weights and memory; with --corrections.",
)
@click.option(
    "--corrections",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="What `longtal review` wrote; with --from.",
)
@click.option(
    "--store",
    metavar="PATH|URL",
    help="Feature store, as data.store: of this machine, or pushed or packed to a place; then it is fetched.",
)
@click.option("--set", "sets", metavar="A.B=C", multiple=True, help="Change one value; may be given often.")
@click.option(
    "--out", required=True, metavar="RUN", type=click.Path(file_okay=False), help="Folder of the run."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run, where it stood.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: str | None,
    run: str | None,
    corrections: str | None,
    store: str | None,
    sets: tuple[str, ...],
    out: str,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a localizer, or encoder and localizer end to end through the memory.

    A store that is not there yet is extracted first, from the configuration's videos. One at a URL is fetched
    into a folder of the user's cache, and neither it nor the place is written to.

    With --from RUN --corrections FILE the run's successor: it starts from RUN's weights and memory, learns
    what a person said of its detections, nothing where nobody looked, and ends with both runs on the
    held-out videos.

    \b
    Example:
      longtal train --config project/longtal.yaml --out project/run
      longtal train --config gym --set data.store=gym.zarr --out runs/gym
      longtal train --config project/longtal.yaml --store s3://bucket/gym-store --out runs/gym
      longtal train --from runs/gym --corrections corrections.json --out runs/gym2
      longtal train --resume --out runs/gym
      longtal train --resume --out runs/gym --set data.videos=/mnt/new/gym
    """
    import json
    from pathlib import Path

    from pipelines.config import load_config, with_settings
    from pipelines.shared import console
    from pipelines.store.cached import with_store_here
    from pipelines.train import saved_config, train
    from pipelines.train.again import config_of_successor, require_successor
    from pipelines.train.before_after import before_after
    from pipelines.train.ensure_store import ensure_store

    if (run is None) != (corrections is None) or (run is not None and source is not None):
        raise click.UsageError("--from RUN and --corrections FILE go together, and without --config")
    if store is not None:
        sets = (*sets, f"data.store={json.dumps(store)}")
    ready = None
    if resume and (Path(out) / "config.yaml").exists():
        saved = saved_config(out)
        config = load_config(source, sets) if source is not None else with_settings(saved, sets)
        config = with_store_here(config, saved.data, Path(out))
        if run is not None and corrections is not None:
            require_successor(config, Path(run), corrections, Path(out))
    elif run is not None and corrections is not None:
        config = with_store_here(config_of_successor(Path(run), corrections, sets, Path(out)))
        ready = ensure_store(config, str(Path(out) / "config.yaml"), (), Path(out))
    elif source is None:
        raise click.UsageError("give --config YAML|PRESET (or --resume with the folder of a run)")
    else:
        config = with_store_here(load_config(source, sets))
        ready = ensure_store(config, source, sets, Path(out))
    result = train(config, out, resume=resume, command=sys.argv, ready=ready)
    if not result.is_main:
        return
    compared = before_after(config, result.annotations, Path(out)) if config.data.corrections else None
    if as_json:
        console.print_json(
            {
                "out": str(result.out),
                "step": result.step,
                "validation_mAP": result.best,
                "best_step": result.best_step,
                "unmeasured": result.unmeasured,
                "parameters": result.num_parameters,
                **({"corrections": compared.to_json()} if compared else {}),
            }
        )
    else:
        best = (
            ""
            if result.best is None
            else f", best validation mAP {result.best:.4f} (step {result.best_step})"
        )
        console.out.print(f"{result.step} steps done{best}; model in {result.out / 'model'}")
        if compared:
            console.out.print(str(compared))
    if result.unmeasured:
        click.get_current_context().exit(1)
