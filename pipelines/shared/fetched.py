"""A file at a URL, brought here."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from featstore.remote import is_url, read_url
from pipelines.shared.console import log
from tal.shared.files import cache_folder, put_in_place

# Annotations of a million videos are a fifth of it.
_MOST_BYTES = 1 << 30


def short_name(place: str) -> str:
    """A file name for a place: its last part as far as it is a good name, and a digest of all of it."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", place.rstrip("/").rpartition("/")[2])[:60] or "place"
    return f"{stem}-{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def file_here(path: str | Path, most: int = _MOST_BYTES) -> Path:
    """A file as it is here: a path as it is, what a URL names fetched anew into the cache folder.

    Raises
    ------
    StoreTransferError, StoreValueError
        The URL cannot be reached, is of a kind that is not taken, or names more than ``most`` bytes.
    OutputError
        The cache folder cannot be written.
    """
    if not isinstance(path, str) or not is_url(path):
        return Path(path)
    data = read_url(path, most)
    # the name alone tells some formats apart; what a URL asks of its server is no part of it
    name = re.sub(r"[^\w.-]", "_", re.split(r"[?#]", path)[0].rstrip("/").rpartition("/")[2])[-100:]
    here = cache_folder("files", short_name(path)) / (name.lstrip(".") or "file")
    with put_in_place(here) as beside:
        beside.write_bytes(data)
    log.info("%s: %.1f KiB fetched to %s", path, len(data) / 1024, here)
    return here
