"""What a store's files promise, held against what is there, before memory, disk or names follow from it.

A store may come from anywhere. A number of it may ask for more memory than there is, a name or a link in it
may lead to files of others, which a writer would change or remove.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featstore.errors import StoreFormatError

_MOST = 1 << 53  # rows, videos, bytes: beyond, floats and whole numbers part
_MOST_CHUNK_BYTES = 1 << 40
_LOG_NAME = re.compile(r"log/\d{8,20}\.\d{3,10}\.(rows|journal)")


def whole(document: Mapping[str, Any], key: str, least: int = 0, most: int = _MOST) -> int:
    """A whole number of a description; ValueError names the key when it is something else."""
    value = document[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{key} is {value!r:.40}, not a whole number from {least} to {most}")
    return value


def check_chunk(items: int, item_bytes: int, what: str) -> None:
    """Refuse chunks that no store has; ValueError."""
    if items * item_bytes > _MOST_CHUNK_BYTES:
        raise ValueError(f"a chunk of {what} would have {items * item_bytes} bytes")


def check_commit(document: Mapping[str, Any]) -> None:
    """Hold that the numbers and names of commit.json make sense; ValueError, TypeError or KeyError if not."""
    for key in ("generation", "num_rows", "num_videos", "text_bytes"):
        whole(document, key)
    whole(document, "rows_before", 0, document["num_rows"])
    whole(document, "videos_before", 0, document["num_videos"])
    run_id, committed_at, applied = (document[key] for key in ("run_id", "committed_at", "applied"))
    if not (run_id is None or isinstance(run_id, str)) or not isinstance(applied, bool):
        raise ValueError(f"run_id {run_id!r:.40}, applied {applied!r:.40}")
    if not (isinstance(committed_at, int | float) and math.isfinite(committed_at)):
        raise ValueError(f"committed_at is {committed_at!r:.40}")
    sizes = [(document[f"{name}_before"], document[f"num_{name}"]) for name in ("rows", "videos")]
    if applied and (document["logs"] or any(before != now for before, now in sizes)):
        raise ValueError("it is applied and yet has logs")
    for entry in document["logs"]:
        whole(entry, "writer")
        whole(entry, "slots", 0, document["num_rows"])
        whole(entry, "journal_bytes")
        for name in (entry["rows_file"], entry["journal_file"]):
            if not _LOG_NAME.fullmatch(name):
                raise ValueError(f"{name!r:.60} is not a name of a log")


def check_places(root: Path, folders: Iterable[Path]) -> None:
    """Hold that the folders of a store are folders, and not links that a writer would follow out of it.

    Raises
    ------
    StoreFormatError
        Names the first that is something else. One that is missing is left to who needs it.
    """
    for folder in folders:
        try:
            mode = os.lstat(folder).st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreFormatError(f"{folder} cannot be read: {error.strerror}") from error
        if not stat.S_ISDIR(mode):
            what = "a link, which could lead anywhere" if stat.S_ISLNK(mode) else "not a folder"
            raise StoreFormatError(f"{folder} is {what}: move or link the whole store {root} instead")
