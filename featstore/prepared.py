"""What writers note when they have prepared a commit, so that it can be made up for when they die before it.

A marker a writer, log/prepared.WWW, put in place in one step after its log is durable. It counts while its
generation is the next one; a commit that stands makes it garbage.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from featstore.documents import read_json, why
from featstore.errors import StoreFormatError
from featstore.files import FileOps, write_atomically
from featstore.layout import Commit, LogEntry, commit_of, read_commit
from featstore.promises import whole


@dataclass(frozen=True)
class Marker:
    """A writer is ready for a commit.

    Attributes
    ----------
    generation
        Number of the commit.
    writers
        Writers that prepare it.
    run_id
        The run that the store serves after it; None: pristine.
    num_rows, num_videos, text_bytes
        As in `Commit`; those of writer 0 count, who alone adds videos.
    entry
        The writer's log.
    """

    generation: int
    writers: int
    run_id: str | None
    num_rows: int
    num_videos: int
    text_bytes: int
    entry: LogEntry


def marker_path(root: Path, writer: int) -> Path:
    """Where a writer's marker stands."""
    return root / "log" / f"prepared.{writer:03d}"


def write_marker(files: FileOps, root: Path, writer: int, marker: Marker) -> None:
    """Note durably that a writer has prepared."""
    write_atomically(files, marker_path(root, writer), json.dumps(asdict(marker)).encode())


def read_marker(root: Path, writer: int) -> Marker | None:
    """A writer's marker; None where there is none.

    Raises
    ------
    StoreFormatError
        It is damaged.
    """
    path = marker_path(root, writer)
    if not path.exists():
        return None
    try:
        document = read_json(path, StoreFormatError)
        for name in ("generation", "writers", "num_rows", "num_videos", "text_bytes"):
            whole(document, name)
        return Marker(**{**document, "entry": LogEntry(**document["entry"])})
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, StoreFormatError):
            raise
        raise StoreFormatError(f"{path} is damaged ({why(error)}): restore the store from a copy") from error


def read_prepared(root: Path) -> Commit | None:
    """The commit that all writers of a store have prepared and that does not stand; None: there is none.

    Raises
    ------
    StoreFormatError
        commit.json or a marker is damaged.
    """
    before = read_commit(root)
    first = read_marker(root, 0)
    markers = [read_marker(root, writer) for writer in range(first.writers if first else 0)]
    ready = [m for m in markers if m is not None and m.generation == before.generation + 1]
    if first is None or not before.applied or not ready or len(ready) < len(markers):
        return None
    logs = [marker.entry for marker in ready if not marker.entry.empty]
    commit = {
        "generation": first.generation,
        "num_rows": first.num_rows,
        "num_videos": first.num_videos,
        "text_bytes": first.text_bytes,
        "rows_before": before.num_rows,
        "videos_before": before.num_videos,
        "run_id": next((marker.run_id for marker in ready if marker.run_id), None),
        "committed_at": time.time(),
        "applied": not logs,
        "logs": [asdict(entry) for entry in logs],
    }
    try:
        return commit_of(commit)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreFormatError(
            f"{marker_path(root, 0)} is damaged ({why(error)}): restore the store from a copy"
        ) from error


def standing(root: str | Path) -> tuple[int, bool]:
    """Generation of the last commit of a store that nobody writes, and whether the next one is prepared.

    Raises
    ------
    StoreFormatError
        commit.json or a marker is damaged.
    """
    return read_commit(Path(root)).generation, read_prepared(Path(root)) is not None
