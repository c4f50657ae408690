"""New stores out of the videos of others: merge several, split one, compact one."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from featstore.base import Base
from featstore.errors import StoreValueError, StoreWriteError
from featstore.files import FileOps, disk_errors
from featstore.layout import VIDEO, Commit, Header, create_folder, read_commit, write_commit
from featstore.reading import StoreReader
from featstore.store import FeatureStore
from featstore.transfer import building
from featstore.videos import COMPLETE, FAILED, RESERVED

_BLOCK_ROWS = 8192


def merge_stores(path: str | Path, sources: Sequence[str | Path]) -> Path:
    """Make one new store with the complete videos of several, ledgers kept.

    Videos that failed, and that none of the stores has complete, come along too. Parts of one run's memory
    (`split_store`) keep their generation, so that the run's checkpoint fits the whole.

    Parameters
    ----------
    path
        Where the new store is to stand.
    sources
        The stores.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    StoreSpecError
        The rows were made in different ways.
    StoreValueError
        Two stores have the same complete video, or were refreshed by different runs.
    StoreExistsError
        Something stands at `path`.
    """
    if not sources:
        raise StoreValueError("nothing to merge: name at least one store")
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(FeatureStore.open(source)) for source in sources]
        home: dict[str, Path] = {}
        for store in stores:
            store.spec.require(
                stores[0].spec,
                f"a merge with {stores[0].path}",
                then="merge stores whose rows were made in one way only",
                store=store.path,
            )
            for video_id in store.video_ids:
                if video_id in home:
                    raise StoreValueError(
                        f"video {video_id!r} is complete in {home[video_id]} and in {store.path}: "
                        "remove it from one"
                    )
                home[video_id] = store.path
        parts, chosen_ids = [], set(home)
        for store in stores:
            chosen = []
            for index in _of_states(store, COMPLETE, FAILED):
                video_id = store._table.ids[index]
                if video_id not in chosen_ids or home.get(video_id) == store.path:
                    chosen.append(index)
                    chosen_ids.add(video_id)
            parts.append((store, chosen))
        runs = {store.run_id for store in stores} - {None}
        if len(runs) > 1:
            raise StoreValueError(f"the stores were refreshed by different runs ({sorted(map(str, runs))})")
        generations = {(store.run_id, store.generation) for store in stores}
        generation = stores[0].generation if runs and len(generations) == 1 else 1
        with building(Path(path)) as folder:
            _rebuild(folder, stores[0]._header, parts, runs.pop() if runs else None, generation)
    return Path(path)


def split_store(
    source: str | Path,
    folder: str | Path,
    parts: Mapping[str, Collection[str]],
    copied: Callable[[int], object] = bool,
) -> Path:
    """Make a folder of new stores among which the videos of one are shared out, ledgers kept.

    The folder appears with all of them, or not at all. Each has the generation of the one, and the run that
    it serves. Videos that failed go into the first.

    Parameters
    ----------
    source
        The store, whose extraction is finished.
    folder
        Where the new stores are to stand.
    parts
        Name of a store -> ids of its videos; each complete video in one of them.
    copied
        Called with the number of a video's rows when they are copied.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    StoreValueError
        Videos wait for their rows, or a complete one has not exactly one place.
    StoreExistsError
        Something stands at `folder`.
    StoreWriteError
        The disk has too little space; nothing is left behind.
    """
    with FeatureStore.open(source) as store:
        if waiting := store.ids("reserved"):
            raise StoreValueError(
                f"{source}: {len(waiting)} videos wait for their rows ({', '.join(waiting[:3])}): finish the "
                "extraction first"
            )
        places = Counter(video_id for ids in parts.values() for video_id in ids)
        complete = store.video_ids
        if wrong := sorted({v for v, n in places.items() if n > 1} | (places.keys() ^ set(complete))):
            raise StoreValueError(f"{source}: these videos have not exactly one part: {', '.join(wrong[:5])}")
        with building(Path(folder)) as beside:
            beside.mkdir()
            failed = _of_states(store, FAILED)
            for name, ids in parts.items():
                chosen = [i for i in _of_states(store, COMPLETE) if store._table.ids[i] in ids]
                part = [(store, chosen + failed)]
                _rebuild(beside / name, store._header, part, store.run_id, store.generation, copied)
                failed = []
    return Path(folder)


def reclaimable_rows(store: StoreReader) -> int:
    """Rows that no video counts any more; `compact_store` gives their space back."""
    records = store._table.records
    live = records[(records["state"] == RESERVED) | (records["state"] == COMPLETE)]
    kept = np.where(live["state"] == COMPLETE, live["num_rows"], live["reserved_rows"])
    return store.num_rows - int(kept.sum())


@disk_errors
def compact_store(path: str | Path) -> int:
    """Rewrite a store without the rows of removed and failed videos; its generation stays.

    Needs the space of the live rows meanwhile; the new store takes the old one's place in one step.

    Returns
    -------
    int
        Bytes given back.

    Raises
    ------
    StoreLockedError
        A live process writes to the store.
    StoreWriteError
        The disk has too little space; the store is as it was.
    """
    path = Path(path)
    with FeatureStore.open(path, "r+", run=read_commit(path).run_id) as store:
        rows = reclaimable_rows(store)
        if not rows:
            return 0
        parts = [(store, _of_states(store, RESERVED, COMPLETE, FAILED))]
        with building(path, replacing=True) as folder:
            _rebuild(folder, store._header, parts, store.run_id, store.generation)
        return rows * store.spec.row_bytes


def _of_states(store: StoreReader, *states: int) -> list[int]:
    return np.flatnonzero(np.isin(store._table.records["state"], states)).tolist()


def _rebuild(
    folder: Path,
    header: Header,
    parts: list[tuple[FeatureStore, list[int]]],
    run_id: str | None,
    generation: int,
    copied: Callable[[int], object] = bool,
) -> None:
    """Fill a new folder with videos (table positions) of other stores; ``copied``: see `split_store`."""
    files = FileOps()
    create_folder(folder, header, files)
    base = Base(folder, header, files)
    text = b""
    records = np.zeros(sum(len(chosen) for _, chosen in parts), VIDEO)
    sources = [(store, index) for store, chosen in parts for index in chosen]
    next_row = 0
    for i, (store, index) in enumerate(sources):
        records[i] = store._table.records[index]
        record = records[i]
        count = {FAILED: 0, COMPLETE: int(record["num_rows"])}.get(
            int(record["state"]), int(record["reserved_rows"])
        )
        data = store._table.ids[index].encode()
        record["id_start"], record["id_stop"] = len(text), len(text) + len(data)
        record["first_row"], record["reserved_rows"], record["num_rows"] = next_row, count, count
        text += data
        next_row += count
    free = shutil.disk_usage(folder).free
    if next_row * header.spec.row_bytes > free:
        raise StoreWriteError(
            errno.ENOSPC,
            f"{folder.parent} has {free >> 20} MiB free, the rows need "
            f"{next_row * header.spec.row_bytes >> 20} MiB",
        )
    base.reserve_rows(0, next_row)
    base.reserve_videos(0, len(records), 0, len(text))
    for record, (store, index) in zip(records, sources, strict=True):
        first, old = int(record["first_row"]), int(store._table.records["first_row"][index])
        for start in range(0, int(record["reserved_rows"]), _BLOCK_ROWS):
            stop = min(int(record["reserved_rows"]), start + _BLOCK_ROWS)
            rows = np.empty((stop - start, header.spec.channels), header.spec.numpy_dtype)
            store._rows_into(old + start, old + stop, rows)
            base.features.put(first + start, rows)
            for name, array in base.ledger.items():
                array.put(first + start, store._ledger_column(name, old + start, old + stop))
        copied(int(record["reserved_rows"]))
    for name, array in base.videos.items():
        array.put(0, np.ascontiguousarray(records[name]))
    base.text.put(0, np.frombuffer(text, np.uint8))
    for array in base.arrays:
        array.sync()
    commit = Commit(
        generation, next_row, len(records), len(text), next_row, len(records), run_id, time.time()
    )
    base.write_shapes(commit)
    base.close()
    write_commit(files, folder, commit)
