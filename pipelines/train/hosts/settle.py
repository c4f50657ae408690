"""Memory and checkpoint move together, on however many hosts.

Every process prepares its rows durably, all wait for each other, the first writes the checkpoint that names
generation g + 1, all wait again, each host commits g + 1. So where a checkpoint g + 1 is, every host has
g + 1 prepared or committed, and where a host has committed it, the checkpoint is there. `settle` finds out.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from featstore import FeatureStore
from featstore.prepared import standing
from pipelines.shared.console import log
from pipelines.train.checkpoint import list_checkpoints
from pipelines.train.hosts.group import Hosts
from tal.errors import CheckpointError


def common_generation(standings: Sequence[tuple[int, bool]], named: Collection[int]) -> int:
    """The generation at which the hosts' memories meet.

    Parameters
    ----------
    standings
        of each host: generation of its memory, and whether it has prepared the next.
    named
        generations that the checkpoints name.

    Raises
    ------
    CheckpointError
        they cannot meet: one is of another moment than the others.
    """
    low, top = min(g for g, _ in standings), max(g for g, _ in standings)
    ready = all(prepared for generation, prepared in standings if generation == low)
    if top == low:
        return low + 1 if ready and low + 1 in named else low
    if top == low + 1 and ready:
        return top
    listed = ", ".join(
        f"host {number}: {generation}{', the next one prepared' if prepared else ''}"
        for number, (generation, prepared) in enumerate(standings)
    )
    raise CheckpointError(
        f"the hosts' memories stand at generations of different moments ({listed}): put back those that "
        "belong together, or train into another folder"
    )


def settle(path: Path, checkpoints: Path, run_id: str, hosts: Hosts) -> bool:
    """Find where the memories of a run meet; returns whether this host has to commit what it prepared.

    At a run's start all memories get the number of the most often committed one.

    Parameters
    ----------
    path
        this host's memory, which nobody has open.
    checkpoints
        the run's, on the first host.

    Raises
    ------
    CheckpointError
        they are of different moments.
    """
    named: set[int | None] = set()
    with hosts.together():
        mine = standing(path) if hosts.leads else (0, False)
        if hosts.number == 0:
            named = {checkpoint.state.generation for checkpoint in list_checkpoints(checkpoints)}
    said = hosts.exchange((mine, named))
    standings = [where for where, _ in said]
    generation, prepared = standings[hosts.number]
    if not said[0][1]:
        _count_on(path, run_id, max(g for g, _ in standings), hosts)
        return False
    target = common_generation(standings, {g for g in said[0][1] if g is not None})
    if prepared and hosts.rank == 0:
        what = "made up for: its checkpoint is there" if target > generation else "discarded: no checkpoint"
        log.info("generation %d of the memory was prepared, not committed; it is %s", generation + 1, what)
    return target > generation


def _count_on(path: Path, run_id: str, generation: int, hosts: Hosts) -> None:
    """Commit nothing until the memory of this host has this generation."""
    if hosts.leads and standing(path)[0] < generation:
        with FeatureStore.open(path, "r+", run=run_id) as memory:
            while memory.generation < generation:
                memory.commit()


def drop_ahead(checkpoints: Path, generation: int) -> None:
    """Remove checkpoints that name a later generation than the memory has: the run goes on without them.

    It will name these generations again; a checkpoint of before must not be taken for theirs.
    """
    for checkpoint in list_checkpoints(checkpoints):
        if checkpoint.state.generation is not None and checkpoint.state.generation > generation:
            log.warning("%s is ahead of the memory, and removed", checkpoint.path)
            shutil.rmtree(checkpoint.path)
