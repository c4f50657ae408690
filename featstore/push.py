"""Pushing a store: objects that are not there yet, and then the manifest that makes them a store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from featstore.errors import StoreLockedError, StoreSpecError
from featstore.manifest import Manifest, Moment, find_manifest, moment, read_history, write_history
from featstore.pieces import (
    OBJECT_NAME,
    encode_rows,
    encode_table,
    object_name,
    piece_digest,
    rows_of_piece,
    table_digest,
)
from featstore.remote import Remote, open_remote, transfer_errors
from featstore.snapshot import Snapshot
from featstore.store import FeatureStore
from featstore.working import in_order

_THEN = "what was sent stays there and is not taken for a store; run the same command again, it goes on there"


@dataclass(frozen=True)
class Pushed:
    """What a push sent.

    Attributes
    ----------
    generation
        The store's, which stands at the place now.
    pieces, sent
        Objects that hold the store, and those of them that were not there yet.
    row_bytes
        What the rows of the pieces that were sent take in a store, in bytes.
    sent_bytes
        What the objects that were sent take.
    """

    generation: int
    pieces: int
    sent: int
    row_bytes: int
    sent_bytes: int


def push_store(path: str | Path, url: str, progress: Callable[[int], None] = lambda rows: None) -> Pushed:
    """Bring the last commit of a store to a place, of which only what changed since an earlier push is sent.

    Parameters
    ----------
    path
        The store.
    url
        The place: a path, s3://bucket/name or memory://name; empty, or pushed to before.
    progress
        Called with the number of rows done since it was last called.

    Returns
    -------
    Pushed
        What was sent.

    Raises
    ------
    StoreLockedError
        A generation stands there that this store does not come from.
    StoreSpecError
        A store of other features stands there.
    StoreExistsError
        Something else stands there.
    StoreTransferError
        The place cannot be reached; the next push goes on where this one ended.
    StoreFormatError
        A row fails its checksum, or the place's manifest is damaged.
    """
    with FeatureStore.open(path) as store, transfer_errors(url, _THEN):
        snapshot, remote = Snapshot(store), open_remote(url)
        history = tuple(dict.fromkeys((*read_history(store.path), moment(snapshot.commit))))
        sizes = remote.sizes()
        newest = find_manifest(remote, sizes)
        if newest is not None:
            _hold_descent(snapshot, newest, history, url)
        with contextlib.suppress(OSError):  # a disk that is only read: the store stays at this commit
            write_history(store.path, history)
        if newest is not None and moment(newest.commit) == moment(snapshot.commit):
            return Pushed(newest.commit.generation, len(newest.pieces) + 1, 0, 0, 0)
        return _Push(snapshot, remote, sizes, progress).run(history)


def _hold_descent(snapshot: Snapshot, newest: Manifest, history: tuple[Moment, ...], url: str) -> None:
    """Hold that what stands at the place is an earlier generation of this store."""
    if newest.header.spec != snapshot.spec:
        raise StoreSpecError(f"{url} holds a store of other features: push {snapshot.path} to another place")
    if moment(newest.commit) not in history:
        raise StoreLockedError(
            f"{url} is at generation {newest.commit.generation}, which {snapshot.path} does not come from: "
            "another copy was pushed there. Push to another place, or pull and go on from that"
        )


@dataclass(frozen=True)
class _Piece:
    """An object at the place: its name, rows that it holds, and bytes that were sent for it now."""

    name: str
    num_rows: int
    sent_bytes: int


class _Push:
    """One push of a snapshot."""

    def __init__(
        self, snapshot: Snapshot, remote: Remote, sizes: dict[str, int], progress: Callable[[int], None]
    ) -> None:
        self._snapshot, self._remote, self._progress = snapshot, remote, progress
        # An object whose size is not that of its name was cut, and is sent again.
        matches = ((OBJECT_NAME.fullmatch(name), size) for name, size in sizes.items())
        self._there = {m[1]: m[0] for m, size in matches if m is not None and int(m[2]) == size}

    def run(self, history: tuple[Moment, ...]) -> Pushed:
        snapshot, commit = self._snapshot, self._snapshot.commit
        step = rows_of_piece(snapshot.spec)
        pieces: list[_Piece] = []
        for piece in in_order(self._piece, range(0, commit.num_rows, step)):
            pieces.append(piece)
            self._progress(piece.num_rows)
        table = self._table()
        names = tuple(piece.name for piece in pieces)
        self._commit(Manifest(snapshot.header, commit, step, names, table.name, history))
        sent = [piece for piece in (*pieces, table) if piece.sent_bytes]
        return Pushed(
            commit.generation,
            len(pieces) + 1,
            len(sent),
            sum(piece.num_rows for piece in sent) * snapshot.spec.row_bytes,
            sum(piece.sent_bytes for piece in sent),
        )

    def _piece(self, start: int) -> _Piece:
        """See that the object of the rows from `start` on is there."""
        stop = min(self._snapshot.commit.num_rows, start + rows_of_piece(self._snapshot.spec))
        ledger = self._snapshot.ledger(start, stop)
        digest = piece_digest(self._snapshot.spec, start, ledger)
        name = self._there.get(digest)
        if name is not None:
            return _Piece(name, stop - start, 0)
        data = encode_rows(self._snapshot.rows(start, stop, ledger), ledger)
        return _Piece(self._send(digest, data), stop - start, len(data))

    def _table(self) -> _Piece:
        records, text = self._snapshot.records, self._snapshot.text
        digest = table_digest(records, text)
        name = self._there.get(digest)
        if name is not None:
            return _Piece(name, 0, 0)
        data = encode_table(records, text)
        return _Piece(self._send(digest, data), 0, len(data))

    def _send(self, digest: str, data: bytes) -> str:
        name = object_name(digest, data)
        self._remote.write(name, data)
        return name

    def _commit(self, manifest: Manifest) -> None:
        """Write the manifest, unless another push wrote one of this generation meanwhile."""
        data = manifest.to_bytes()
        try:
            self._remote.write(manifest.name, data, new=True)
        except OSError:
            # Written and answered, but the answer was lost: then it stands there.
            there = self._remote.sizes("manifests").get(manifest.name)
            if there is None:
                raise
            if self._remote.read(manifest.name, len(data) + 1) != data:
                raise StoreLockedError(
                    f"{self._remote.url} was brought to generation {manifest.commit.generation} by another "
                    "push meanwhile: push to another place, or pull and go on from that"
                ) from None
