"""Stores that a run reads from a place that was pushed or packed to: fetched once, and read here.

CACHE/stores/PLACE/gN-MOMENT.zarr is generation N of a place; the moment of its commit tells it from another
of its number. What is there is never written to, nor is the place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featstore.errors import StoreNotFoundError
from featstore.layout import Commit
from featstore.manifest import find_manifest
from featstore.remote import Remote, is_url, open_remote, transfer_errors
from pipelines.config import DataConfig, RunConfig
from pipelines.shared.console import log
from pipelines.shared.fetched import short_name
from pipelines.store import travel
from pipelines.store.run import human_bytes
from tal.errors import ConfigError
from tal.shared.files import cache_folder, output_errors

_THEN = "nothing was changed; correct the place, or run the same command again"


@dataclass(frozen=True)
class Place:
    """A store at a place.

    Attributes
    ----------
    place
        URL, or absolute path.
    commit
        Its generation.
    num_bytes
        What it takes there.
    packed
        Whether it is a packed copy, and not a place that is pushed to.
    """

    place: str
    commit: Commit
    num_bytes: int
    packed: bool

    @property
    def path(self) -> Path:
        """Where it is kept here."""
        moment = f"{self.commit.generation}@{self.commit.committed_at!r}"
        digest = hashlib.sha256(moment.encode()).hexdigest()[:8]
        return _folder(self.place) / f"g{self.commit.generation}-{digest}.zarr"


def with_store_here(config: RunConfig, begun: DataConfig | None = None, out: Path | None = None) -> RunConfig:
    """A configuration whose store is on this machine, fetched where it is not yet.

    ``data.store`` may be a URL, or a folder that was pushed or packed to; then it is the path of what was
    fetched, and ``data.store_place`` and ``data.store_generation`` say where from.

    Parameters
    ----------
    begun
        What the run that is to go on was begun with: it goes on with the same generation.
    out
        The run's folder: a run that goes on with a memory of its own needs no store.

    Raises
    ------
    ConfigError
        the run would write into what is fetched, the place has another store of this generation now, or
        several processes were started and no generation is named.
    FeatureStoreError
        the place cannot be reached, or has no such store.
    """
    data = config.data
    own_memory = begun is not None and out is not None and (out / "memory.zarr").exists()
    if _is_place(data.store):
        place = data.store if is_url(data.store) else str(Path(data.store).absolute())
        if begun is not None and begun.store_place == place:
            if data.store_generation not in (0, begun.store_generation):
                raise ConfigError(
                    f"the run was begun with generation {begun.store_generation} of {place}, not "
                    f"{data.store_generation}: begin another, with another --out"
                )
            data = begun
        generation = data.store_generation
    elif _is_kept(data):
        place, generation = data.store_place, data.store_generation
    else:  # a store of this machine, whatever was fetched before
        return _with(config, data.store, "", 0)
    if config.memory.in_place:
        raise ConfigError(
            f"memory.in_place writes into the store, and what is fetched from {place} stays as it is: "
            f"`longtal store pull {place} PATH` and train with --store PATH"
        )
    if (own_memory or Path(data.store).exists()) and _is_kept(data):
        return _with(config, data.store, place, generation)
    found = look_at(place, generation)
    if not generation and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            f"each of several processes could find another generation at {place}: name one, "
            f"--set data.store_generation={found.commit.generation} (the newest)"
        )
    if _is_kept(data) and found.path.name != Path(data.store).name:
        raise ConfigError(
            f"{place} has another generation {generation} than the run was begun with: it was pushed or "
            "packed anew; begin another run, with another --out"
        )
    return _with(config, str(fetch(found)), place, found.commit.generation)


def look_at(place: str, generation: int = 0) -> Place:
    """What stands at a place; ``generation`` 0: the newest.

    Raises
    ------
    StoreNotFoundError
        Nothing that was pushed or packed whole, or not this generation.
    FeatureStoreError
        The place cannot be reached, or is damaged.
    """
    with transfer_errors(place, _THEN):
        remote = open_remote(place)
        sizes = remote.sizes()
        if "zarr.json" in sizes:
            return _packed(remote, sizes, generation)
        manifest = find_manifest(remote, sizes, generation or None)
        if manifest is None:
            raise StoreNotFoundError(f"no store was pushed or packed to {place}, or none whole: {_THEN}")
        needed = {*manifest.pieces, manifest.table}
        return Place(place, manifest.commit, sum(sizes[name] for name in needed), packed=False)


def _packed(remote: Remote, sizes: dict[str, int], generation: int) -> Place:
    from featstore.unpack import PackedStore

    commit = PackedStore(remote).commit
    if generation not in (0, commit.generation):
        raise StoreNotFoundError(
            f"{remote.url} is a packed copy of generation {commit.generation}, not {generation}"
        )
    return Place(remote.url, commit, sum(sizes.values()), packed=True)


def fetch(place: Place) -> Path:
    """The path of a place's store here, where it is brought if it is not there yet.

    What an earlier generation that is here has is not fetched again, nor what an interrupted fetch did.
    """
    path = place.path
    with _alone(path.parent):
        if path.exists():
            log.info("%s: generation %d is here: %s", place.place, place.commit.generation, path)
            return path
        size = human_bytes(place.num_bytes)
        log.info("%s: fetching generation %d (%s) to %s", place.place, place.commit.generation, size, path)
        log.info("Ctrl-C keeps what is done: the same command goes on from there")
        if place.packed:
            travel.unpack(place.place, path, place.commit.num_rows)
            return path
        near = max(path.parent.glob("g*-*.zarr"), key=_generation, default=None)
        facts: dict[str, Any] = travel.pull(
            place.place, path, place.commit.generation, near, place.commit.num_rows
        )
        log.info(
            "fetched %d of %d objects, %s; %s",
            facts["fetched"],
            facts["pieces"],
            human_bytes(facts["fetched_bytes"]),
            travel.per_second(facts["fetched_bytes"], facts["seconds"]),
        )
    return path


def _with(config: RunConfig, store: str, place: str, generation: int) -> RunConfig:
    changes = {"store": store, "store_place": place, "store_generation": generation}
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def _folder(place: str) -> Path:
    return cache_folder("stores", short_name(place))


def _is_place(store: str) -> bool:
    """Whether ``data.store`` names a place, and not a store of this machine (which may be yet to be made)."""
    if not store or is_url(store):
        return bool(store)
    path = Path(store)
    pushed, packed = (path / "manifests").is_dir(), (path / "zarr.json").is_file()
    return (pushed or packed) and not (path / "commit.json").exists()


def _is_kept(data: DataConfig) -> bool:
    """Whether ``data.store`` is what was fetched from ``data.store_place``, here or on another machine."""
    path = Path(data.store)
    named = re.fullmatch(r"g(\d+)-[0-9a-f]{8}\.zarr", path.name)
    right = named is not None and int(named[1]) == data.store_generation
    return bool(data.store_place) and right and path.parent.name == short_name(data.store_place)


def _generation(path: Path) -> int:
    return int(path.name[1:].partition("-")[0])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process fetches; others that are to have the same wait for it."""
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
