"""The stores of a run: the extraction as it is, or the run's own copy of it, which steps refresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from featstore import FeatureStore
from featstore.spec import PRECISION
from pipelines.config import RunConfig
from pipelines.shared.console import log
from pipelines.train.hosts.group import PATIENCE, Hosts
from pipelines.train.hosts.settle import settle
from tal.encoders import Encoder, feature_spec
from tal.errors import ConfigError
from tal.memory.sampler import WindowSampler


@dataclass(frozen=True)
class Stores:
    """The stores that a run has open.

    Attributes
    ----------
    rows
        where stored rows are read from.
    memory
        the same store when the run also writes it.
    """

    rows: FeatureStore | None
    memory: FeatureStore | None

    @property
    def provenance(self) -> dict[str, Any]:
        """What a model folder says of the rows that it was trained on."""
        return {"features": self.rows.spec.to_dict()} if self.rows is not None else {}


def writes_memory(config: RunConfig) -> bool:
    """Whether the run's steps change stored rows."""
    return config.end_to_end and uses_store(config) and config.memory.write_back != "off"


def uses_store(config: RunConfig) -> bool:
    """Whether the run reads stored rows."""
    return bool(config.data.store) and not (config.end_to_end and config.memory.baseline != "none")


def require_store(config: RunConfig) -> None:
    """Raise ConfigError where stored rows are needed and no store is named."""
    without = config.end_to_end and (config.memory.ratio == 1 or config.memory.baseline != "none")
    if not uses_store(config) and not without:
        raise ConfigError(
            "data.store is empty: make one with `longtal extract` or `longtal store import` and "
            "give it with --set data.store=PATH"
        )


def rows_path(config: RunConfig, out: Path, begun: bool) -> Path | None:
    """The store whose rows a run reads: the extraction, or the run's own copy once it has ``begun``."""
    if not uses_store(config):
        return None
    copy = out / "memory.zarr"
    own = begun and writes_memory(config) and not config.memory.in_place and copy.exists()
    return copy if own else Path(config.data.store)


def open_stores(config: RunConfig, out: Path, accelerator: Accelerator, run_id: str, hosts: Hosts) -> Stores:
    """The extraction as it is, or the run's own copy of it when steps write rows back.

    Raises
    ------
    CheckpointError
        the memories of the hosts are of different moments.
    """
    require_store(config)
    if not uses_store(config):
        return Stores(None, None)
    if not writes_memory(config):
        store = FeatureStore.open(config.data.store)
        return Stores(store, None)
    path = Path(config.data.store) if config.memory.in_place else out / "memory.zarr"
    if not path.exists() and hosts.leads:
        with FeatureStore.open(config.data.store) as pristine:
            log.info("copying %s to %s", config.data.store, path)
            pristine.copy_to(path, run_id=run_id)
    accelerator.wait_for_everyone()
    commit_prepared = settle(path, out / "checkpoints", run_id, hosts)
    memory = _open_memory(path, run_id, accelerator, hosts, commit_prepared)
    return Stores(memory, memory)


def _open_memory(
    path: Path, run_id: str, accelerator: Accelerator, hosts: Hosts, commit_prepared: bool
) -> FeatureStore:
    """The first process of each host opens (and recovers) first; the others join its run."""
    memory = None
    for turn in (True, False):
        if hosts.leads == turn:
            memory = FeatureStore.open(
                path,
                mode="r+",
                run=run_id,
                writer=hosts.local_rank,
                writers=hosts.local_processes,
                commit_prepared=commit_prepared,
            )
        accelerator.wait_for_everyone()
    assert memory is not None
    return memory


def check_spec(config: RunConfig, encoder: Encoder, store: FeatureStore) -> None:
    """StoreSpecError unless the store's rows are of this very encoder, sampling and resizing."""
    data, precision = config.data, config.train.precision
    remarks = store.spec.require(
        feature_spec(encoder, data.fps, data.max_frames, reader=data.reader, precision=precision),
        "this configuration's encoder",
        then="extract again, or change the configuration",
        store=config.data.store,
        ignore=("dtype", PRECISION),  # rows of both meet in the memory
    )
    for remark in remarks:
        log.info("%s, compared with this run: %s", config.data.store, remark)


def share_out(
    memory: FeatureStore,
    windows: WindowSampler,
    slots: Sequence[Sequence[int]],
    accelerator: Accelerator,
    hosts: Hosts,
    resumed: bool,
) -> None:
    """Make each process of a host the owner of its slots' videos, once, before the first checkpoint.

    ``slots``: those of each process of this host.
    """
    owners = {video.id: process for process, own in enumerate(slots) for video in windows.videos_of(own)}
    right = all(memory.owner(video) == process for video, process in owners.items())
    if all(hosts.exchange(right)):
        return
    if resumed:
        raise ConfigError(
            f"the run was begun with another number of processes than {accelerator.num_processes}: go on "
            f"with as many as before, since each owns its videos' rows"
        )
    if hosts.leads:
        memory.assign(owners)
    memory.prepare_commit()
    accelerator.wait_for_everyone()
    memory.commit(PATIENCE.total_seconds())
