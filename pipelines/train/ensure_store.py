"""Before a training: the feature store that its configuration names, extracted where it is not there yet."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.data.run_annotations import RunAnnotations, read_run_annotations
from pipelines.data.videos import pair_with_files
from pipelines.shared import console
from pipelines.train.data import shortened
from pipelines.train.preflight import Ready, make_ready, with_rows
from tal.annotations.ids import match_ids
from tal.errors import ConfigError


def ensure_store(config: RunConfig, source: str, sets: Sequence[str], out: Path) -> Ready | None:
    """Extract what the store lacks: all of it, or the rest of an extraction that was interrupted.

    What training would refuse after the extraction is refused before it.

    Parameters
    ----------
    config, source, sets
        the run's configuration, and the file or preset with the ``--set`` values that it was read from: the
        command that does this alone is named after them.
    out
        the run's folder; one that holds a run is left to `train` to refuse, before hours are spent.

    Returns
    -------
    Ready or None
        for `train`: all, after an extraction; annotations alone where corrections made it look through the
        store; None where there was nothing to look at.

    Raises
    ------
    ConfigError
        when there is something to extract and several processes were started.
    VideoError
        when not a single video could be extracted.
    LongtalError
        whatever else would keep the run from its first step.
    """
    store = Path(config.data.store)
    if not _uses_rows(config) or any((out / "checkpoints").glob("*")):
        return None
    if config.data.store_place:
        return _of_a_place(config)
    what = "does not exist yet"
    annotations = None
    if _is_full(store):
        if not config.data.corrections:
            return None
        annotations = read_run_annotations(config.data, config.learns_one_class)
        lacking = _lacking(config, annotations)
        if not lacking:
            return Ready(annotations, None, None)
        what = f"lacks {len(lacking)} corrected videos ({shortened(lacking)})"
    elif store.exists():
        what = "was interrupted before it was full"
    changes = [word for setting in sets for word in ("--set", setting)]
    command = shlex.join(["longtal", "extract", "--config", source, *changes])
    ready = make_ready(config, out, extracting=True, annotations=annotations)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ConfigError(
            f"{store} {what}, and one process extracts, not {processes}: run "
            f"`{command}` first, then train as you did"
        )

    from pipelines.extract import ExtractOptions, extract
    from pipelines.extract.run import require_some

    console.log.info("%s %s: extracting first, as `%s` does", store, what, command)
    console.log.info("Ctrl-C keeps what is done: the same command goes on from there")
    options = ExtractOptions(device=config.train.device)
    if store.exists():
        with FeatureStore.open(store) as begun:
            options = replace(options, dtype="float32" if begun.spec.dtype == "float32" else "float16")
    report = extract(config, options, ready.annotations.whole)
    require_some(report)
    console.log.info(
        "extracted %d videos, %d rows, in %.0f s; training begins",
        len(report.done),
        report.num_rows,
        report.wall_s,
    )
    return with_rows(ready, config, out)


def _of_a_place(config: RunConfig) -> Ready | None:
    """For a store that was fetched: what it lacks cannot be extracted into it."""
    place, instead = config.data.store_place, "pull it to a path of its own, extract into that, and push it"
    if not _is_full(Path(config.data.store)):
        raise ConfigError(f"the store at {place} was interrupted before it was full: {instead}")
    if not config.data.corrections:
        return None
    annotations = read_run_annotations(config.data, config.learns_one_class)
    if lacking := _lacking(config, annotations):
        raise ConfigError(f"the store at {place} lacks corrected videos ({shortened(lacking)}): {instead}")
    return Ready(annotations, None, None)


def _lacking(config: RunConfig, annotations: RunAnnotations) -> list[str]:
    """Corrected videos that have a file, and no rows in a store that was made before they were corrected."""
    files = pair_with_files(Path(config.data.videos), annotations.whole)
    with FeatureStore.open(config.data.store) as opened:
        stored = match_ids(files.listed, opened.videos()["id"]).pairs
    corrected = sorted(annotations.corrected & files.by_annotation.keys())
    return [name for name in corrected if files.pairs.get(name) not in stored]


def _uses_rows(config: RunConfig) -> bool:
    """Whether the run reads stored rows that its own encoder could make."""
    without_memory = config.end_to_end and config.memory.baseline != "none"
    return bool(config.data.videos and config.data.store) and not without_memory


def _is_full(store: Path) -> bool:
    """A store in which no video waits for its rows. (What failed stays as it is: training warns of it.)"""
    if not store.exists():
        return False
    with FeatureStore.open(store) as opened:
        return not (opened.videos()["state"] == "reserved").any()
