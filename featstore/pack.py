"""Packed copies: a store as compressed, sharded Zarr v3 arrays, in a folder or a bucket, for readers of Zarr.

The arrays are those of the store, by the same names. The group's attributes are written last, and only they
make it a packed copy: what was interrupted has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featstore.errors import StoreExistsError, StoreFormatError, StoreValueError
from featstore.files import FileOps
from featstore.layout import VIDEO, ArrayLayout, Commit, array_layouts, header_document
from featstore.log import row_sums
from featstore.remote import Folder, Remote, open_remote, transfer_errors
from featstore.snapshot import Snapshot
from featstore.spec import ROUNDING, FeatureSpec
from featstore.store import FeatureStore
from featstore.transfer import building

if TYPE_CHECKING:
    import zarr

PACK = "longtal_pack"  # key of the group's attributes
PACK_FORMAT = 1
LEVEL = 1  # docs/benchmarks.md: as small as 5 within 8 %, in up to a quarter of the time
# A reader fetches and unpacks whole chunks; an object of a bucket is a whole shard.
_CHUNK_BYTES, _CHUNKS_PER_SHARD = 1 << 20, 64
_MARK = "packing.json"
_OWN_FOLDERS = ("features/", "ledger/", "videos/")


@dataclass(frozen=True)
class Packed:
    """What a packed copy takes.

    Attributes
    ----------
    num_rows
        Rows of it.
    row_bytes
        What its rows take in a store, in bytes.
    packed_bytes
        What all of it takes packed.
    largest_error
        The most that rounding moved a number; None: nothing was rounded.
    """

    num_rows: int
    row_bytes: int
    packed_bytes: int
    largest_error: float | None


class Rounding:
    """Rounds rows to so many bits of the mantissa, and measures by how much it moved them.

    Raises
    ------
    StoreValueError
        The store's type does not have so many bits.
    """

    def __init__(self, bits: int, dtype: np.dtype[Any]) -> None:
        from numcodecs.bitround import BitRound, max_bits

        most = max_bits[dtype.name]
        if not 0 <= bits <= most:
            raise StoreValueError(f"{dtype.name} has {most} bits of mantissa to keep, not {bits}")
        self.bits, self.largest_error = bits, 0.0
        self._codec = BitRound(keepbits=bits)

    def apply(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows [n, C] rounded, of the same dtype; a number that would round to infinity stays."""
        rounded = self._codec.decode(self._codec.encode(rows)).reshape(rows.shape)
        rounded = np.where(np.isfinite(rounded), rounded, rows)
        moved = np.abs(rounded.astype(np.float64) - rows.astype(np.float64))
        self.largest_error = max(self.largest_error, float(moved.max(initial=0.0)))
        return rounded


def pack_store(
    path: str | Path,
    url: str,
    round_bits: int | None = None,
    level: int = LEVEL,
    progress: Callable[[int], None] = lambda rows: None,
) -> Packed:
    """Write the last commit of a store as a packed copy.

    Parameters
    ----------
    path
        The store.
    url
        Where the copy is to stand: a path, s3://bucket/name or memory://name.
    round_bits
        Bits of mantissa that numbers keep; None: all, so that an unpacked store equals this one to the bit.
    level
        Effort of the compression, 1 (fast) to 9 (small).
    progress
        Called with the number of rows done since it was last called.

    Returns
    -------
    Packed
        Sizes, and what rounding cost.

    Raises
    ------
    StoreExistsError
        Something stands at the place.
    StoreTransferError
        The place cannot be reached, or does not take it.
    StoreValueError
        A URL, a number of bits or a level that cannot be.
    StoreFormatError
        A row fails its checksum.
    """
    if not 1 <= level <= 9:
        raise StoreValueError(f"the level of compression must lie in 1 .. 9, not {level}")
    with FeatureStore.open(path) as store:
        snapshot = Snapshot(store)
        rounding = None if round_bits is None else Rounding(round_bits, snapshot.spec.numpy_dtype)
        remote = open_remote(url)
        then = "nothing stands there that could be taken for a store; run the same command again"
        with transfer_errors(url, then):
            if isinstance(remote, Folder):
                with building(remote.path) as folder:
                    _pack(snapshot, Folder(url, folder), rounding, level, progress)
                    _sync_files(folder)
            else:
                _make_room(remote)
                remote.write(_MARK, b"{}")
                _pack(snapshot, remote, rounding, level, progress)
                remote.remove(_MARK)
            packed_bytes = sum(remote.sizes().values())
    num_rows = snapshot.commit.num_rows
    error = None if rounding is None else rounding.largest_error
    return Packed(num_rows, num_rows * snapshot.spec.row_bytes, packed_bytes, error)


def _make_room(remote: Remote) -> None:
    """Remove what an interrupted packing left in a bucket; StoreExistsError where there is anything else."""
    names = list(remote.sizes())
    own = [name for name in names if name.startswith(_OWN_FOLDERS) or name in (_MARK, "zarr.json")]
    if names and (_MARK not in names or len(own) < len(names)):
        raise StoreExistsError(f"{remote.url} is not empty: choose another place, or remove what is there")
    for name in sorted(own, key=_MARK.__eq__):  # the mark last, should this be interrupted too
        remote.remove(name)


def _pack(
    snapshot: Snapshot,
    remote: Remote,
    rounding: Rounding | None,
    level: int,
    progress: Callable[[int], None],
) -> None:
    import zarr

    store = remote.zarr_store(read_only=False)
    commit, digest = snapshot.commit, hashlib.sha256()
    text = np.frombuffer(snapshot.text, np.uint8)
    layouts = {array.name: array for array in array_layouts(snapshot.header)}
    arrays = {
        name: _create(store, array, array_length(name, commit), level) for name, array in layouts.items()
    }
    for name in VIDEO.names or ():
        _put(arrays[f"videos/{name}"], 0, snapshot.records[name])
    _put(arrays["videos/text"], 0, text)
    digest.update(snapshot.records.tobytes() + snapshot.text)
    ledger_names = [name for name in layouts if name.startswith("ledger/")]
    # Each array is written in whole shards: a part of one would be read, put together and written again.
    held = {name: _Gathered(arrays[name]) for name in ledger_names}
    step = _shard_items(arrays["features"])
    for start in range(0, commit.num_rows, step):
        stop = min(commit.num_rows, start + step)
        ledger = snapshot.ledger(start, stop)
        rows = snapshot.rows(start, stop, ledger)
        if rounding is not None:
            rows = rounding.apply(rows)
            written = ledger["step"] >= 0
            ledger["crc32c"][written] = row_sums(rows[written])
        _put(arrays["features"], start, rows)
        for name in ledger_names:
            held[name].add(ledger[name.removeprefix("ledger/")])
        digest.update(ledger.tobytes())
        progress(stop - start)
    for gathered in held.values():
        gathered.flush()
    header = replace(snapshot.header, spec=_spec_after(snapshot.spec, rounding))
    attributes = {
        "format": PACK_FORMAT,
        **header_document(header),
        "commit": asdict(commit),
        "sha256": digest.hexdigest(),
    }
    zarr.open_group(store, mode="r+").attrs[PACK] = attributes  # from here on it is a packed copy


def array_length(name: str, commit: Commit) -> int:
    """Items of an array at a commit."""
    if name == "videos/text":
        return commit.text_bytes
    return commit.num_videos if name.startswith("videos/") else commit.num_rows


def _create(store: Any, array: ArrayLayout, length: int, level: int) -> zarr.Array:
    import zarr
    from zarr.codecs import BloscCodec

    chunk = max(1, _CHUNK_BYTES // array.item_bytes)
    shard = chunk * max(1, min(_CHUNKS_PER_SHARD, -(-length // chunk)))
    return zarr.create_array(
        store,
        name=array.name,
        shape=(length, *array.item_shape),
        chunks=(chunk, *array.item_shape),
        shards=(shard, *array.item_shape),
        dtype=array.dtype,
        compressors=BloscCodec(
            cname="zstd",
            clevel=level,
            shuffle="shuffle" if array.dtype.itemsize > 1 else "noshuffle",
            typesize=array.dtype.itemsize,
        ),
        filters=None,
        fill_value=array.fill,
        # A shard of zeros is written too: one that is not there is one that was lost.
        config={"write_empty_chunks": True},
    )


def _shard_items(array: zarr.Array) -> int:
    assert array.shards is not None
    return int(array.shards[0])


def _put(array: zarr.Array, start: int, values: NDArray[Any]) -> None:
    """Write items from a shard's beginning on."""
    step = _shard_items(array)
    assert start % step == 0
    for at in range(0, len(values), step):
        array[start + at : start + at + len(values[at : at + step])] = values[at : at + step]


class _Gathered:
    """Items of one array, gathered until they fill a shard."""

    def __init__(self, array: zarr.Array) -> None:
        self._array, self._step = array, _shard_items(array)
        self._waiting: list[NDArray[Any]] = []
        self._count = self._start = 0

    def add(self, values: NDArray[Any]) -> None:
        self._waiting.append(np.ascontiguousarray(values))
        self._count += len(values)
        if self._count >= self._step:
            self._write(self._count // self._step * self._step)

    def flush(self) -> None:
        if self._count:
            self._write(self._count)

    def _write(self, count: int) -> None:
        values = np.concatenate(self._waiting)
        _put(self._array, self._start, values[:count])
        self._waiting, self._start = [values[count:]], self._start + count
        self._count -= count


def _spec_after(spec: FeatureSpec, rounding: Rounding | None) -> FeatureSpec:
    """The spec, which says what rounding did to the rows; errors of one rounding after another add up."""
    if rounding is None:
        return spec
    before = spec.extra.get(ROUNDING)
    earlier = before.get("largest_error") if isinstance(before, dict) else 0.0
    if not isinstance(earlier, int | float):
        raise StoreFormatError(f"the feature spec's {ROUNDING} cannot be {before!r:.60}")
    said = {"mantissa_bits": rounding.bits, "largest_error": rounding.largest_error + earlier}
    return replace(spec, extra={**spec.extra, ROUNDING: said})


def _sync_files(folder: Path) -> None:
    """Make the files that zarr wrote durable, before they take their name."""
    files = FileOps()
    for path in folder.rglob("*"):
        if path.is_file():
            fd = files.open(path)
            try:
                files.sync(fd)
            finally:
                files.close(fd)
