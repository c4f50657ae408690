"""Pulling a store: what is here already is taken from here, the rest fetched, and all swapped in at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from featstore.arriving import ArrivingStore
from featstore.errors import StoreFormatError, StoreLockedError, StoreNotFoundError, StoreSpecError
from featstore.files import FileOps
from featstore.layout import read_commit
from featstore.manifest import Manifest, find_manifest, moment, read_history, write_history
from featstore.pieces import decode_rows, decode_table, piece_digest, table_digest
from featstore.remote import Folder, Remote, open_remote, transfer_errors
from featstore.snapshot import Snapshot
from featstore.store import FeatureStore
from featstore.transfer import building
from featstore.working import in_order

_THEN = (
    "the store is as it was, and what was fetched is kept beside it; run the same command again, it goes on "
    "from there"
)


@dataclass(frozen=True)
class Pulled:
    """What a pull fetched.

    Attributes
    ----------
    generation
        The store's now.
    num_rows
        Rows of the store.
    pieces, fetched
        Objects that hold the store, and those of them that came from the place now.
    fetched_bytes
        What these take.
    """

    generation: int
    num_rows: int
    pieces: int
    fetched: int
    fetched_bytes: int


def pull_store(
    url: str,
    path: str | Path,
    generation: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
    near: str | Path | None = None,
) -> Pulled:
    """Bring a store to the generation that was pushed to a place, of which only what is not here is fetched.

    Parameters
    ----------
    url
        The place: a path, s3://bucket/name or memory://name.
    path
        The store: a new one, or one that was pushed to or pulled from the place before.
    generation
        Which one; None: the newest.
    progress
        Called with the number of rows done since it was last called.
    near
        Another store that is here, such as an earlier generation of this one: what both have is not fetched.

    Returns
    -------
    Pulled
        What was fetched. A store that is at the generation, or ahead of it, stays as it is.

    Raises
    ------
    StoreNotFoundError
        No store was ever pushed there whole, or not this generation.
    StoreLockedError
        The store at `path` is written to, or was changed since it was last pushed or pulled.
    StoreSpecError
        The store at `path` is of other features.
    StoreExistsError
        Something else stands at the place.
    StoreTransferError
        The place cannot be reached; the next pull goes on where this one ended.
    StoreFormatError
        What came is damaged. The store at `path` is as it was.
    StoreWriteError
        The disk has too little space.
    """
    path = Path(path)
    with transfer_errors(url, _THEN):
        remote = open_remote(url)
        sizes = remote.sizes()
        manifest = find_manifest(remote, sizes, generation)
        if manifest is None:
            raise StoreNotFoundError(
                f"no store was pushed to {url}, or none whole: correct the place, or push"
            )
        with contextlib.ExitStack() as stack:
            here = None
            if path.exists():
                # Opened for writing: while it is replaced, nobody else may write to it.
                store = stack.enter_context(FeatureStore.open(path, "r+", run=read_commit(path).run_id))
                here = Snapshot(store)
                if _is_ahead(here, manifest, url):
                    return Pulled(
                        here.commit.generation, here.commit.num_rows, len(manifest.pieces) + 1, 0, 0
                    )
            elif near is not None:
                beside = Snapshot(stack.enter_context(FeatureStore.open(near)))
                here = beside if beside.spec == manifest.header.spec else None
            return _Pull(remote, manifest, path, here, progress).run()


def _is_ahead(here: Snapshot, manifest: Manifest, url: str) -> bool:
    """Whether a store is at a manifest's generation or comes from it; refused where it is on another way."""
    if manifest.header.spec != here.spec:
        raise StoreSpecError(f"{here.path} is of other features than {url}: pull to another path")
    mine, history = moment(here.commit), read_history(here.path)
    if moment(manifest.commit) in (mine, *history):
        return True
    if mine not in manifest.history:
        raise StoreLockedError(
            f"{here.path} was changed after it was last pushed or pulled, in another way than {url}: pull to "
            "another path"
        )
    return False


class _Pull:
    """One pull of a manifest's store."""

    def __init__(
        self,
        remote: Remote,
        manifest: Manifest,
        path: Path,
        here: Snapshot | None,
        progress: Callable[[int], None],
    ) -> None:
        self._remote, self._manifest, self._path, self._here = remote, manifest, path, here
        self._progress = progress
        self._spec = manifest.header.spec
        self._kept = Folder(str(path), path.parent / f".{path.name}.pulling")
        self._at_hand = self._kept.sizes()
        self._counting, self._fetched, self._fetched_bytes = threading.Lock(), 0, 0

    def run(self) -> Pulled:
        manifest, commit = self._manifest, self._manifest.commit
        records, text = self._table()
        with building(self._path, replacing=self._path.exists()) as folder:
            store = ArrivingStore(folder, manifest.header, commit, records, text, self._remote.url)
            try:
                for start, rows, ledger in self._pieces():
                    store.put(start, rows, ledger)
                    self._progress(len(rows))
                store.finish()
            finally:
                store.close()
            write_history(folder, manifest.history)
        if self._kept.path.exists():
            FileOps().remove(self._kept.path)
        pieces = len(manifest.pieces) + 1
        return Pulled(commit.generation, commit.num_rows, pieces, self._fetched, self._fetched_bytes)

    def _table(self) -> tuple[NDArray[Any], bytes]:
        name, commit = self._manifest.table, self._manifest.commit
        here = self._here
        if here is not None and table_digest(here.records, here.text) == _digest_of(name):
            return here.records, here.text
        data = self._object(name)
        source = f"{self._remote.url}/{name}"
        return decode_table(data, _digest_of(name), commit.num_videos, commit.text_bytes, source)

    def _pieces(self) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        """(first row, rows [n, C], ledger [n]) of every piece, in order."""
        yield from in_order(self._piece, range(len(self._manifest.pieces)))

    def _piece(self, number: int) -> tuple[int, NDArray[Any], NDArray[Any]]:
        name, step = self._manifest.pieces[number], self._manifest.piece_rows
        start = number * step
        stop = min(self._manifest.commit.num_rows, start + step)
        digest = _digest_of(name)
        if self._here is not None and stop <= self._here.commit.num_rows:
            ledger = self._here.ledger(start, stop)
            if piece_digest(self._spec, start, ledger) == digest:
                with contextlib.suppress(StoreFormatError):  # a row is damaged here: fetched, it is mended
                    return start, self._here.rows(start, stop, ledger), ledger
        source = f"{self._remote.url}/{name}"
        rows, ledger = decode_rows(self._object(name), digest, self._spec, start, stop - start, source)
        return start, rows, ledger

    def _object(self, name: str) -> bytes:
        """An object's bytes: those that an interrupted pull kept, else fetched and kept."""
        size = int(name.rpartition(".")[2])
        if self._at_hand.get(name) == size:
            return self._kept.read(name, size)
        data = self._remote.read(name, size)
        if len(data) != size:
            raise OSError(f"{name} came in {len(data)} bytes instead of {size}")
        self._kept.write(name, data)
        with self._counting:
            self._fetched += 1
            self._fetched_bytes += size
        return data


def _digest_of(name: str) -> str:
    return name.removeprefix("objects/").partition(".")[0]
