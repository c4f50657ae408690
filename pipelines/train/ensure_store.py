"""Before a training: the feature store that its configuration names, extracted where it is not there yet."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from featstore import FeatureStore
from pipelines.config import RunConfig
from pipelines.shared import console
from pipelines.train.preflight import Ready, make_ready, with_rows
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
        for `train`, after an extraction; None where there was nothing to extract.

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
    if not _uses_rows(config) or _is_full(store) or any((out / "checkpoints").glob("*")):
        return None
    what = "was interrupted before it was full" if store.exists() else "does not exist yet"
    changes = [word for setting in sets for word in ("--set", setting)]
    command = shlex.join(["longtal", "extract", "--config", source, *changes])
    ready = make_ready(config, out, extracting=True)
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
    report = extract(config, ExtractOptions(device=config.train.device))
    require_some(report)
    console.log.info(
        "extracted %d videos, %d rows, in %.0f s; training begins",
        len(report.done),
        report.num_rows,
        report.wall_s,
    )
    return with_rows(ready, config, out)


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
