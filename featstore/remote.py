"""Places that stores travel to: a folder, an S3 bucket, this process's memory; named objects below one URL.

Only a few kinds of URL are taken: a URL may stand in a configuration from elsewhere, and fsspec knows kinds
that read or run far more than a store needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featstore.documents import open_regular
from featstore.errors import LongtalError, StoreTransferError, StoreValueError
from featstore.files import FileOps, put_in_place, write_durably

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(::|://)")
_TAKEN = ("file", "memory", "s3")
_WEB = "https"  # files alone: a place for stores needs a listing
_NOT_INSTALLED = "needs a package that is not installed: pip install 'longtal[remote]'"


def is_url(text: str) -> bool:
    """Whether text names a place by a URL, such as s3://bucket/name, and not by a path."""
    return _SCHEME.match(text) is not None


def open_remote(url: str) -> Remote:
    """The place that a path or URL names; nothing is asked of it yet.

    Raises
    ------
    StoreValueError
        A kind of URL that is not taken, or one that names no place.
    StoreTransferError
        What reads such URLs is not installed.
    """
    match = _SCHEME.match(url)
    if match is None:
        return Folder(url, Path(url))
    scheme, rest = match[1].lower(), url[match.end() :]
    if scheme not in _TAKEN or match[2] == "::":
        known = ", ".join(f"{name}://" for name in _TAKEN)
        raise StoreValueError(f"{url}: stores travel to paths and to URLs that begin with {known}")
    parts = rest.rstrip("/").split("/")
    if scheme == "file":
        return Folder(url, Path(rest))
    if any(part in ("", ".", "..") for part in parts) or (scheme == "s3" and len(parts) < 2):
        example = "s3://bucket/features" if scheme == "s3" else "memory://features"
        raise StoreValueError(f"{url} names no place for a store: give one such as {example}")
    return Bucket(f"{scheme}://{'/'.join(parts)}")


def read_url(url: str, most: int) -> bytes:
    """The bytes of one file at a URL: those of `open_remote`, and https://.

    Parameters
    ----------
    url
        The file.
    most
        Bytes that are read at most.

    Raises
    ------
    StoreValueError
        A kind of URL that is not taken, or a file of more bytes.
    StoreTransferError
        It cannot be reached, is not there, or what reads such URLs is not installed.
    """
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match is not None and match[2] == "://" else ""
    if scheme not in (*_TAKEN, _WEB):
        known = ", ".join(f"{name}://" for name in (*_TAKEN, _WEB))
        raise StoreValueError(f"{url}: files are read from paths and from URLs that begin with {known}")
    with transfer_errors(url, "nothing was read; correct the URL, or run the same command again"):
        try:
            import fsspec

            # What a server says of a file's size is not believed: it is read as it comes, and cut.
            streamed = {"block_size": 0} if scheme == _WEB else {}
            with fsspec.open(url, "rb", **streamed) as file:
                data = _up_to(file, most + 1)
        except ImportError as error:
            raise StoreTransferError(f"{url} {_NOT_INSTALLED}") from error
    if len(data) > most:
        raise StoreValueError(f"{url} has more than {most >> 20} MiB, too much for such a file")
    return data


def _up_to(file: Any, most: int) -> bytes:
    parts: list[bytes] = []
    while most > 0 and (part := file.read(min(most, 1 << 20))):
        parts.append(bytes(part))
        most -= len(part)
    return b"".join(parts)


class Remote:
    """Objects below one URL: a name with slashes each, whole or not there.

    Attributes
    ----------
    url
        The place, for messages.
    """

    url: str

    def sizes(self, below: str = "") -> dict[str, int]:
        """Name -> bytes of every object, or of those in the folder `below`; links and pipes are none."""
        raise NotImplementedError

    def read(self, name: str, most: int) -> bytes:
        """An object's bytes, cut after `most`; FileNotFoundError where there is none."""
        raise NotImplementedError

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        """Put an object in one step; with `new`, FileExistsError where one of this name is there."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Remove an object."""
        raise NotImplementedError

    def zarr_store(self, read_only: bool) -> Any:
        """The same place as a store of zarr's."""
        raise NotImplementedError


class Folder(Remote):
    """A folder of this machine."""

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.path = url, path

    def sizes(self, below: str = "") -> dict[str, int]:
        found: dict[str, int] = {}
        for folder, _, names in os.walk(self.path / below):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        found[path.relative_to(self.path).as_posix()] = status.st_size
        return found

    def read(self, name: str, most: int) -> bytes:
        with open(open_regular(self.path / name), "rb") as file:
            return file.read(most)

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        files, path = FileOps(), self.path / name
        files.mkdir(path.parent)
        if new:
            _write_new(files, path, data)
            return
        beside = _beside(path)
        with put_in_place(files, path, beside):
            write_durably(files, beside, data)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def zarr_store(self, read_only: bool) -> Any:
        from zarr.storage import LocalStore

        return LocalStore(self.path, read_only=read_only)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{id(path)}.tmp")


def _write_new(files: FileOps, path: Path, data: bytes) -> None:
    """Put a file where none is, whole: a link is made in one step, and refused where the name is taken."""
    beside = _beside(path)
    try:
        write_durably(files, beside, data)
        os.link(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            files.unlink(beside)
    files.sync_dir(path.parent)


class Bucket(Remote):
    """A prefix of an S3 bucket, or of fsspec's memory file system."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            import fsspec

            # Listings must be those of this moment: others push too.
            self._fs, self._root = fsspec.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise StoreTransferError(f"{url} {_NOT_INSTALLED}") from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def sizes(self, below: str = "") -> dict[str, int]:
        found = self._fs.find(self._path(below), detail=True)
        skip = len(self._root) + 1
        return {path[skip:]: int(about["size"]) for path, about in found.items() if len(path) > skip}

    def read(self, name: str, most: int) -> bytes:
        return bytes(self._fs.cat_file(self._path(name), start=0, end=most))

    def write(self, name: str, data: bytes, new: bool = False) -> None:
        path = self._path(name)
        if new and self._fs.exists(path):  # stores that do not know conditional writes
            raise FileExistsError(path)
        self._fs.pipe_file(path, data, mode="create" if new else "overwrite")

    def remove(self, name: str) -> None:
        self._fs.rm_file(self._path(name))

    def zarr_store(self, read_only: bool) -> Any:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(self.url, read_only=read_only)


def _failures() -> tuple[type[BaseException], ...]:
    """What a place that cannot be reached raises; the packages' own errors where they are in use."""
    kinds: list[type[BaseException]] = [OSError, asyncio.TimeoutError]
    for module, names in (
        ("botocore.exceptions", ("BotoCoreError", "ClientError")),
        ("aiohttp", ("ClientError",)),
    ):
        if module in sys.modules:
            kinds += [getattr(sys.modules[module], name) for name in names]
    return tuple(kinds)


@contextlib.contextmanager
def transfer_errors(url: str, then: str) -> Iterator[None]:
    """Turn what fails on the way to or from a place into one error of ours.

    Parameters
    ----------
    url
        The place, for the message.
    then
        What is safe, and what to do.

    Raises
    ------
    StoreTransferError
        Says what failed; errors that are ours already pass.
    """
    try:
        yield
    except LongtalError:
        raise
    except _failures() as error:
        said = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise StoreTransferError(f"{url}: {said}: {then}") from error
