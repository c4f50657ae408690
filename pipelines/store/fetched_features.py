"""Feature files at a URL: brought beside the store that is made of them, and removed afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from featstore.remote import Remote, is_url, open_remote, transfer_errors
from featstore.working import in_order
from pipelines.shared import console
from pipelines.store.feature_files import SUFFIXES
from pipelines.store.features import require_no_store
from pipelines.store.run import human_bytes
from tal.annotations.builder import first_ids
from tal.errors import ConfigError, OutputError
from tal.shared.files import output_errors, put_in_place

_THEN = "what was fetched is kept beside the store; run the same command again, it goes on from there"
# A day of video at 30 rows a second and 4096 channels is 40 GB; what is larger is no file of one video.
_MOST_BYTES = 64 << 30


@contextmanager
def features_here(place: str, store: Path) -> Iterator[Path]:
    """The folder of feature files at a path or URL, for a block that makes a store of them.

    Those of a URL are fetched. Files that an interrupted command fetched are not fetched again; all go when
    the block is done.

    Raises
    ------
    ConfigError
        No feature files are there, or one has a name that would lead out of a folder.
    OutputError
        The disk has no room for them.
    StoreTransferError, StoreValueError
        The place cannot be reached, or is of a kind that is not taken.
    StoreExistsError
        The store is there already.
    """
    if not is_url(place):
        yield Path(place)
        return
    require_no_store(store)
    folder = store.parent / f".{store.name}.features"
    with transfer_errors(place, _THEN):
        remote = open_remote(place)
        sizes = _listed(remote)
        todo = [name for name, size in sizes.items() if _size(folder / name) != size]
        needed = sum(sizes[name] for name in todo)
        _require_room(folder, needed)
        console.log.info(
            "%s: fetching %d of %d files, %s, to %s",
            place,
            len(todo),
            len(sizes),
            human_bytes(needed),
            folder,
        )
        with console.progress("files") as bar:
            task = bar.add_task(f"fetching {place}", total=len(todo))
            for _ in in_order(lambda name: _fetch(remote, name, sizes[name], folder / name), todo):
                bar.advance(task)
    _remove_others(folder, sizes)
    yield folder
    shutil.rmtree(folder)


def _listed(remote: Remote) -> dict[str, int]:
    """Name -> bytes of the feature files of a place."""
    everything = remote.sizes()
    sizes = {name: n for name, n in everything.items() if PurePosixPath(name).suffix.lower() in SUFFIXES}
    if not sizes:
        there = f"; there are {first_ids(list(everything))}" if everything else ", nor anything else"
        raise ConfigError(f"no {', '.join(SUFFIXES)} files at {remote.url}{there}")
    for name, size in sizes.items():
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
            raise ConfigError(f"{remote.url}: {name!r:.90} cannot be the name of a file here: rename it")
        if size > _MOST_BYTES:
            raise ConfigError(f"{remote.url}: {name!r:.90} has {human_bytes(size)}, too much for one video")
    return sizes


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _fetch(remote: Remote, name: str, size: int, path: Path) -> None:
    data = remote.read(name, size)
    if len(data) != size:
        raise OSError(f"{name} came in {len(data)} bytes instead of {size}")
    with output_errors(path), put_in_place(path) as beside:
        beside.write_bytes(data)


def _require_room(folder: Path, needed: int) -> None:
    there = next(above for above in folder.absolute().parents if above.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise OutputError(
            f"fetching the features takes {human_bytes(needed)}, {there} has {human_bytes(free)} free: give "
            "another --store"
        )


def _remove_others(folder: Path, sizes: dict[str, int]) -> None:
    """Files of an earlier try that are not at the place any more would be imported too."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in sizes:
            path.unlink()
