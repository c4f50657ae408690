"""Files and folders that are whole or not there: made beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tal.errors import OutputError


@contextmanager
def put_in_place(path: Path, sole_writer: bool = False, sync: bool = False) -> Iterator[Path]:
    """Yield a name beside ``path`` to make a file or a folder under; it is renamed at the block's end.

    So readers, and a crash within the block, find the old one or the new one, whole. When the block raises,
    what it made is removed and the old one stays. A folder that is replaced is missing for a moment, since a
    rename does not replace folders.

    Parameters
    ----------
    path
        where the file or folder is to stand; its folder is made when it is missing.
    sole_writer
        no other process writes this path: the name beside is always the same, and what a killed process left
        under it is removed first.
    sync
        wait until all of it is on the disk, names included.

    Raises
    ------
    OutputError
        a device or a pipe stands there.
    """
    if path.absolute().parent == Path("/dev") or (path.exists() and not (path.is_file() or path.is_dir())):
        raise OutputError(f"{path} is a device or a pipe, which a rename would replace: name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    token = "" if sole_writer else f".{secrets.token_hex(4)}"
    beside = path.with_name(f".{path.name[:40]}{token}.tmp")
    try:
        _remove(beside)
        yield beside
        if sync:
            for made in (*beside.rglob("*"), beside):
                _sync(made)
        if beside.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(beside, path)
        if sync:
            _sync(path.parent)
    except BaseException:
        with suppress(OSError):
            _remove(beside)
        raise


def cache_folder(*parts: str) -> Path:
    """A place for what can be made or fetched again: in ``LONGTAL_CACHE``, or `longtal` in the user's cache.

    The user's cache is ``XDG_CACHE_HOME``, or ~/.cache.
    """
    if named := os.environ.get("LONGTAL_CACHE"):
        return Path(named).absolute().joinpath(*parts)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache.joinpath("longtal", *parts)


def require_folder(folder: Path) -> None:
    """Raise OutputError when ``folder`` is not, and cannot become, a folder to write into.

    Call it before long work: writing raises the same error, but only at the end.
    """
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OutputError(f"{folder} cannot be written: {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written: no permission to write in {place}")


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors while ``path`` is written into an OutputError."""
    require_folder(path.parent)
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write a UTF-8 file, whole or not at all; ``errors`` as in `str.encode`, for what is no valid Unicode.

    Raises
    ------
    OutputError
        the folder cannot be written (permissions, disk full), or is a file.
    """
    with output_errors(path), put_in_place(path) as beside:
        beside.write_bytes(text.encode("utf-8", errors))
