"""A store out of a packed copy, whose promises are held against its objects before anything is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from featstore.arriving import ArrivingStore
from featstore.documents import parse_json, why
from featstore.errors import LongtalError, StoreFormatError, StoreNotFoundError
from featstore.layout import LEDGER, VIDEO, ArrayLayout, Commit, Header, array_layouts, commit_of, header_of
from featstore.pack import PACK, PACK_FORMAT, array_length
from featstore.promises import whole
from featstore.remote import Remote, open_remote, transfer_errors
from featstore.transfer import building

if TYPE_CHECKING:
    import zarr

_MOST_JSON = 1 << 20
_MOST_SHARD_BYTES, _MOST_CHUNK_BYTES = 1 << 30, 64 << 20
# The only codecs that are asked to read: none of them runs what it reads.
_INNER = {"bytes", "blosc", "zstd", "crc32c"}
_INDEX = {"bytes", "crc32c"}
_AGAIN = "pack the store again"


def unpack_store(url: str, path: str | Path, progress: Callable[[int], None] = lambda rows: None) -> Commit:
    """Make a store of a packed copy, at the generation of the store that was packed.

    Parameters
    ----------
    url
        Where the copy stands: a path, s3://bucket/name or memory://name.
    path
        Where the store is to stand.
    progress
        Called with the number of rows done since it was last called.

    Returns
    -------
    Commit
        The store's.

    Raises
    ------
    StoreNotFoundError
        No packed copy stands at the place, or one that was never finished.
    StoreExistsError
        Something stands at `path`.
    StoreFormatError
        The copy is damaged, of a newer format, or promises what it does not hold.
    StoreTransferError
        The place cannot be reached.
    StoreWriteError
        The disk has too little space. In all cases nothing is left behind.
    """
    remote = open_remote(url)
    with transfer_errors(url, f"nothing was made at {path}; run the same command again"):
        packed = PackedStore(remote)
        with building(Path(path)) as folder:
            _unpack(packed, folder, progress)
    return packed.commit


class PackedStore:
    """A packed copy whose attributes, arrays and objects agree.

    Attributes
    ----------
    header, commit
        Of the store that was packed.

    Raises
    ------
    StoreNotFoundError, StoreFormatError
        As `unpack_store`.
    """

    def __init__(self, remote: Remote) -> None:
        self.url = remote.url
        attributes = _attributes(remote)
        self.header, self.commit = _promises(attributes, remote.url)
        self.sha256 = str(attributes.get("sha256"))
        store, sizes = remote.zarr_store(read_only=True), remote.sizes()
        self._arrays = {array.name: self._open(store, array, sizes) for array in array_layouts(self.header)}

    @property
    def step(self) -> int:
        """Rows of a shard of features, the best to read at a time."""
        shards = self._arrays["features"].shards
        assert shards is not None
        return int(shards[0])

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Items [start, stop) of an array; StoreFormatError where its chunks are damaged."""
        try:
            return np.asarray(self._arrays[name][start:stop])
        except (ValueError, RuntimeError, TypeError) as error:
            raise StoreFormatError(f"{self.url}: {name} is damaged ({why(error)}): {_AGAIN}") from error

    def _open(self, store: Any, array: ArrayLayout, sizes: dict[str, int]) -> zarr.Array:
        import zarr

        description = f"{array.name}/zarr.json"
        if not 0 < sizes.get(description, 0) <= _MOST_JSON:
            self._refuse(array.name, "has no description, or none of a size that makes sense")
        try:
            opened = zarr.open_array(store, path=array.name, mode="r", zarr_format=3)
            _check_array(opened, array, array_length(array.name, self.commit))
        except FileNotFoundError:
            self._refuse(array.name, "is missing")
        except (ValueError, TypeError, KeyError, LookupError, AttributeError, RecursionError) as error:
            if isinstance(error, LongtalError):
                raise
            self._refuse(array.name, f"cannot be read ({why(error)})")
        assert opened.shards is not None
        shard, chunk = opened.shards[0], opened.chunks[0]
        index_bytes = 16 * (shard // chunk) + 4
        tail = "/0" * len(array.item_shape)
        for number in range(-(-opened.shape[0] // shard)):
            if sizes.get(f"{array.name}/c/{number}{tail}", 0) < index_bytes:
                self._refuse(array.name, f"lacks shard {number}, or it was cut")
        return opened

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise StoreFormatError(f"{self.url}: {name} {what}: {_AGAIN}") from None


def _attributes(remote: Remote) -> dict[str, Any]:
    """What makes a group of arrays a packed copy."""
    try:
        data = remote.read("zarr.json", _MOST_JSON)
    except FileNotFoundError:
        raise StoreNotFoundError(f"no packed store at {remote.url}: correct the place") from None
    document = parse_json(data, f"{remote.url}/zarr.json", StoreFormatError)
    try:
        attributes = document["attributes"][PACK]
        version = whole(attributes, "format")
    except (KeyError, TypeError, ValueError):
        raise StoreNotFoundError(
            f"{remote.url} is not a packed store, or one whose packing was interrupted: pack it again"
        ) from None
    if version > PACK_FORMAT:
        raise StoreFormatError(f"{remote.url} is packed in format {version}: install a newer longtal")
    return dict(attributes)


def _promises(attributes: dict[str, Any], url: str) -> tuple[Header, Commit]:
    header = header_of(attributes, url)
    try:
        commit = commit_of(attributes["commit"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreFormatError(f"{url}: its commit is damaged ({why(error)}): {_AGAIN}") from error
    if not commit.applied:
        raise StoreFormatError(f"{url}: its commit names logs, which are not packed: {_AGAIN}")
    return header, commit


def _check_array(opened: zarr.Array, array: ArrayLayout, length: int) -> None:
    """Hold that an array is of the shape and type promised, and read by harmless codecs alone; ValueError."""
    if opened.shape != (length, *array.item_shape) or opened.dtype != array.dtype:
        raise ValueError(f"it is {opened.dtype} {opened.shape}, not {array.dtype} {length} long")
    metadata: dict[str, Any] = dict(opened.metadata.to_dict())
    (sharding,) = metadata["codecs"]
    names, index_names = (
        {codec["name"] for codec in sharding["configuration"][key]} for key in ("codecs", "index_codecs")
    )
    if sharding["name"] != "sharding_indexed" or names - _INNER or index_names - _INDEX:
        raise ValueError(f"its codecs are {sorted(names)}, not those of a packed store")
    shards = opened.shards
    if shards is None or shards[1:] != array.item_shape or opened.chunks[1:] != array.item_shape:
        raise ValueError("its chunks do not hold whole items")
    sizes = ((opened.chunks[0], _MOST_CHUNK_BYTES), (shards[0], _MOST_SHARD_BYTES))
    if any(items > 1 and items * array.item_bytes > most for items, most in sizes):
        raise ValueError(f"its shards are {shards}, more than is read at a time")


def _unpack(packed: PackedStore, folder: Path, progress: Callable[[int], None]) -> None:
    commit, digest = packed.commit, hashlib.sha256()
    records = np.zeros(commit.num_videos, VIDEO)
    for name in VIDEO.names or ():
        records[name] = packed.read(f"videos/{name}", 0, commit.num_videos)
    text = packed.read("videos/text", 0, commit.text_bytes).tobytes()
    digest.update(records.tobytes() + text)
    store = ArrivingStore(folder, packed.header, commit, records, text, packed.url)
    try:
        for start in range(0, commit.num_rows, packed.step):
            stop = min(commit.num_rows, start + packed.step)
            ledger = np.empty(stop - start, LEDGER)
            for name in LEDGER.names or ():
                ledger[name] = packed.read(f"ledger/{name}", start, stop)
            digest.update(ledger.tobytes())
            store.put(start, packed.read("features", start, stop), ledger)
            progress(stop - start)
        if digest.hexdigest() != packed.sha256:
            raise StoreFormatError(f"{packed.url}: its ledger is not the one that was packed: {_AGAIN}")
        store.finish()
    finally:
        store.close()
