"""The manifest of a pushed generation: the object that makes what was sent before it a store."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featstore.documents import parse_json, read_json, why
from featstore.errors import StoreExistsError, StoreFormatError, StoreNotFoundError
from featstore.files import FileOps, write_atomically
from featstore.layout import Commit, Header, commit_of, header_document, header_of
from featstore.pieces import OBJECT_NAME
from featstore.promises import whole
from featstore.remote import Remote

MANIFEST_FORMAT = 1
_MANIFEST = re.compile(r"manifests/(\d{12})\.json")
_MOST_MANIFEST_BYTES, _MOST_PIECE_BYTES = 256 << 20, 1 << 30
_HISTORY = "history.json"

# A commit as it is told from others of its number: generation, and when it was made.
Moment = tuple[int, float]


def moment(commit: Commit) -> Moment:
    """What tells a commit from every other of a store's copies."""
    return commit.generation, commit.committed_at


@dataclass(frozen=True)
class Manifest:
    """A pushed generation.

    Attributes
    ----------
    header, commit
        Of the store.
    piece_rows
        Rows of each piece but the last.
    pieces
        Names of the pieces' objects, in the order of the rows.
    table
        Name of the video table's object.
    history
        Moments at which the store was pushed or pulled, this one included.
    """

    header: Header
    commit: Commit
    piece_rows: int
    pieces: tuple[str, ...]
    table: str
    history: tuple[Moment, ...]

    @property
    def name(self) -> str:
        """Name of the manifest's own object."""
        return f"manifests/{self.commit.generation:012d}.json"

    def to_bytes(self) -> bytes:
        """JSON with a digest of itself."""
        document = {
            "format": MANIFEST_FORMAT,
            **header_document(self.header),
            "commit": asdict(self.commit),
            "piece_rows": self.piece_rows,
            "pieces": list(self.pieces),
            "table": self.table,
            "history": [list(entry) for entry in self.history],
        }
        return json.dumps({**document, "sha256": _digest(document)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> Manifest:
        """The inverse; StoreFormatError where it is damaged, newer, or promises what cannot be."""
        document = parse_json(data, source, StoreFormatError)
        try:
            version = whole(document, "format")
            if version > MANIFEST_FORMAT:
                raise StoreFormatError(f"{source} is of format {version}: install a newer longtal")
            said = document.pop("sha256")
            if said != _digest(document):
                raise ValueError("its digest is another")
            header, commit = header_of(document, source), commit_of(document["commit"])
            manifest = cls(
                header,
                commit,
                whole(document, "piece_rows", 1, max(1, _MOST_PIECE_BYTES // header.spec.row_bytes)),
                tuple(map(_object, document["pieces"])),
                _object(document["table"]),
                moments(document["history"]),
            )
            if not commit.applied or len(manifest.pieces) != math.ceil(commit.num_rows / manifest.piece_rows):
                raise ValueError("its pieces are not those of its rows")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, StoreFormatError):
                raise
            raise StoreFormatError(
                f"{source} is damaged ({why(error)}): pull an earlier generation, or push the store elsewhere"
            ) from error
        return manifest


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _object(name: str) -> str:
    if not OBJECT_NAME.fullmatch(name):
        raise ValueError(f"{name!r:.90} is not a name of an object")
    return name


def moments(values: Any) -> tuple[Moment, ...]:
    """A history read from JSON; ValueError or TypeError where it is none."""
    history = tuple((int(number), float(at)) for number, at in values)
    if not all(number >= 0 and math.isfinite(at) for number, at in history):
        raise ValueError("its history makes no sense")
    return history


def find_manifest(remote: Remote, sizes: dict[str, int], generation: int | None = None) -> Manifest | None:
    """The newest manifest of a place, or that of a generation.

    Parameters
    ----------
    remote, sizes
        The place, and all that lies there.
    generation
        Which; None: the newest.

    Returns
    -------
    Manifest or None
        None where nothing is there, or only the beginning of a push.

    Raises
    ------
    StoreExistsError
        Something else lies at the place.
    StoreNotFoundError
        It has other generations.
    StoreFormatError
        The manifest is damaged, or an object that it names is missing or was cut.
    """
    strange = [name for name in sizes if not (_MANIFEST.fullmatch(name) or OBJECT_NAME.fullmatch(name))]
    strange = [name for name in strange if not name.endswith(".tmp")]  # of a push to a folder that died
    if strange:
        raise StoreExistsError(
            f"{remote.url} holds something else ({strange[0]!r:.60}): push and pull need a place of their own"
        )
    there = sorted(int(match[1]) for name in sizes if (match := _MANIFEST.fullmatch(name)))
    if not there:
        return None
    if generation is not None and generation not in there:
        listed = ", ".join(map(str, there[-10:]))
        raise StoreNotFoundError(f"{remote.url} has no generation {generation}; it has {listed}")
    name = f"manifests/{there[-1] if generation is None else generation:012d}.json"
    source = f"{remote.url}/{name}"
    manifest = Manifest.from_bytes(remote.read(name, _MOST_MANIFEST_BYTES), source)
    if manifest.name != name:
        raise StoreFormatError(f"{source} is of generation {manifest.commit.generation}: it was renamed")
    for item in (*manifest.pieces, manifest.table):
        if sizes.get(item) != int(item.rpartition(".")[2]):
            raise StoreFormatError(
                f"{remote.url}: {item} of generation {manifest.commit.generation} is missing or was cut: "
                "push the store it was made of elsewhere, or pull another generation"
            )
    return manifest


# -- the history of a store, beside its commit ---------------------------------------------------------------


def read_history(path: Path) -> tuple[Moment, ...]:
    """Moments at which a store was pushed or pulled; none where it never was."""
    if not (path / _HISTORY).exists():
        return ()
    document = read_json(path / _HISTORY, StoreFormatError)
    try:
        return moments(document["pushed"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreFormatError(f"{path / _HISTORY} is damaged ({why(error)}): remove it") from error


def write_history(path: Path, history: tuple[Moment, ...]) -> None:
    """Note the moments; OSError where the store's disk takes no writes."""
    document = {"pushed": [list(entry) for entry in history]}
    write_atomically(FileOps(), path / _HISTORY, json.dumps(document).encode())
