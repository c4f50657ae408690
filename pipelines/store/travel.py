"""Stores that travel: packed copies, pushes and pulls, with what they took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.shared import console
from pipelines.store.run import human_bytes


@contextmanager
def rows_done(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar of rows; what it gives is called with the number of rows done since it was last called."""
    with console.progress("rows") as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.advance(task, rows)


def pack(store: Path, url: str, round_bits: int | None, level: int) -> dict[str, Any]:
    """Pack a store; what it took, JSON-ready."""
    from featstore import pack_store

    begun = time.perf_counter()
    with rows_done(f"packing {store}") as progress:
        packed = pack_store(store, url, round_bits, level, progress)
    seconds = time.perf_counter() - begun
    return {
        "url": url,
        "rows": packed.num_rows,
        "row_bytes": packed.row_bytes,
        "packed_bytes": packed.packed_bytes,
        "seconds": seconds,
        "round_bits": round_bits,
        "largest_error": packed.largest_error,
    }


def unpack(url: str, store: Path, num_rows: int | None = None) -> dict[str, Any]:
    """Unpack a store; what it took, JSON-ready."""
    from featstore import FeatureStore, unpack_store

    begun = time.perf_counter()
    with rows_done(f"unpacking {url}", num_rows) as progress:
        commit = unpack_store(url, store, progress)
    seconds = time.perf_counter() - begun
    with FeatureStore.open(store) as opened:
        row_bytes, videos = opened.spec.row_bytes, len(opened)
    return {
        "store": str(store),
        "generation": commit.generation,
        "videos": videos,
        "rows": commit.num_rows,
        "row_bytes": commit.num_rows * row_bytes,
        "seconds": seconds,
    }


def push(store: Path, url: str) -> dict[str, Any]:
    """Push a store; what was sent, JSON-ready."""
    from featstore import push_store

    begun = time.perf_counter()
    with rows_done(f"pushing {store}") as progress:
        pushed = push_store(store, url, progress)
    return {"url": url, **asdict(pushed), "seconds": time.perf_counter() - begun}


def pull(
    url: str,
    store: Path,
    generation: int | None = None,
    near: Path | None = None,
    num_rows: int | None = None,
) -> dict[str, Any]:
    """Pull a store; what was fetched, JSON-ready. ``near``: see `pull_store`; ``num_rows``: for the bar."""
    from featstore import pull_store

    begun = time.perf_counter()
    with rows_done(f"pulling {url}", num_rows) as progress:
        pulled = pull_store(url, store, generation, progress, near)
    return {"store": str(store), **asdict(pulled), "seconds": time.perf_counter() - begun}


def per_second(num_bytes: float, seconds: float) -> str:
    """A rate in words."""
    return f"{seconds:.1f} s, {human_bytes(num_bytes / max(seconds, 1e-9))}/s"
