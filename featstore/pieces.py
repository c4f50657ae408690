"""What is pushed: stretches of rows with their ledger, one compressed object each, named after the ledger.

The ledger of a stretch says when each row was written, how often, and its checksum. So its digest names the
rows too, a stretch that did not change since the last push is known without reading its rows, and
what arrives is held against the name.
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.documents import why
from featstore.errors import StoreFormatError
from featstore.layout import LEDGER, VIDEO
from featstore.spec import FeatureSpec

PIECE_BYTES = 8 << 20
_HEAD = struct.Struct("<4sQQ")  # kind, and bytes of the first and of the second compressed part
# Of a part, as blosc writes it: four bytes of versions and flags, its size, that of a block, that compressed.
_BLOSC_HEAD = struct.Struct("<4BIII")
_ROWS, _TABLE = b"LTR1", b"LTV1"
# The digest, and the bytes of the object, so that a listing shows an object that was cut.
OBJECT_NAME = re.compile(r"objects/([0-9a-f]{64})\.([1-9]\d{0,12})")


def rows_of_piece(spec: FeatureSpec) -> int:
    """Rows of every piece but the last."""
    return max(1, PIECE_BYTES // spec.row_bytes)


def piece_digest(spec: FeatureSpec, start: int, ledger: NDArray[Any]) -> str:
    """The digest that rows go by: of the first one's number, and their ledger [n] of dtype LEDGER."""
    head = f"{spec.dtype} {spec.channels} {start} {len(ledger)}\n".encode()
    return hashlib.sha256(_ROWS + head + ledger.tobytes()).hexdigest()


def table_digest(records: NDArray[Any], text: bytes) -> str:
    """The digest that a video table goes by."""
    head = f"{len(records)} {len(text)}\n".encode()
    return hashlib.sha256(_TABLE + head + records.tobytes() + text).hexdigest()


def object_name(digest: str, data: bytes) -> str:
    """Name of the object that holds `data`."""
    return f"objects/{digest}.{len(data)}"


def encode_rows(rows: NDArray[Any], ledger: NDArray[Any]) -> bytes:
    """An object of rows [n, C] and their ledger [n] of dtype LEDGER."""
    return _encode(_ROWS, ledger.view("<u8"), rows.reshape(-1))


def encode_table(records: NDArray[Any], text: bytes) -> bytes:
    """An object of a video table: records [videos] of dtype VIDEO and the ids' bytes."""
    return _encode(_TABLE, records.view("u1"), np.frombuffer(text, "u1"))


def decode_rows(
    data: bytes, digest: str, spec: FeatureSpec, start: int, count: int, source: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows [count, C] from `start` on and their ledger [count], out of an object of that digest.

    Raises
    ------
    StoreFormatError
        It holds something else. (Rows are still to be held against the ledger's checksums.)
    """
    parts = _decode(_ROWS, data, (count * LEDGER.itemsize, count * spec.row_bytes), source)
    ledger = np.frombuffer(parts[0], LEDGER).copy()
    if piece_digest(spec, start, ledger) != digest:
        raise _damaged(source, "its ledger is another")
    return np.frombuffer(parts[1], spec.numpy_dtype).reshape(count, spec.channels).copy(), ledger


def decode_table(
    data: bytes, digest: str, num_videos: int, text_bytes: int, source: str
) -> tuple[NDArray[Any], bytes]:
    """Records [num_videos] of dtype VIDEO, and the ids' bytes; StoreFormatError where they are others."""
    parts = _decode(_TABLE, data, (num_videos * VIDEO.itemsize, text_bytes), source)
    records = np.frombuffer(parts[0], VIDEO).copy()
    if table_digest(records, parts[1]) != digest:
        raise _damaged(source, "it is another video table")
    return records, parts[1]


def _encode(kind: bytes, *parts: NDArray[Any]) -> bytes:
    from numcodecs import Blosc

    codec = Blosc(cname="zstd", clevel=5, shuffle=Blosc.SHUFFLE)
    packed = [bytes(codec.encode(np.ascontiguousarray(part))) if part.size else b"" for part in parts]
    return _HEAD.pack(kind, *map(len, packed)) + b"".join(packed)


def _decode(kind: bytes, data: bytes, sizes: tuple[int, int], source: str) -> tuple[bytes, bytes]:
    """The two parts, of so many bytes; what they say of themselves is read before memory is asked for."""
    from numcodecs import Blosc

    if len(data) < _HEAD.size:
        raise _damaged(source, "it was cut")
    found, *lengths = _HEAD.unpack_from(data)
    if found != kind or _HEAD.size + sum(lengths) != len(data):
        raise _damaged(source, "it is of another kind, or was cut")
    parts, at = [], _HEAD.size
    for length, size in zip(lengths, sizes, strict=True):
        part, at = data[at : at + length], at + length
        try:
            if size == 0 and length == 0:
                parts.append(b"")
                continue
            if length < _BLOSC_HEAD.size or _BLOSC_HEAD.unpack_from(part)[4::2] != (size, length):
                raise _damaged(source, "it is of another size than promised")
            parts.append(bytes(Blosc().decode(part)))
        except (ValueError, RuntimeError) as error:
            if isinstance(error, StoreFormatError):
                raise
            raise _damaged(source, why(error)) from error
    return parts[0], parts[1]


def _damaged(source: str, what: str) -> StoreFormatError:
    return StoreFormatError(f"{source}: {what}: remove this object there, and push the store again")
