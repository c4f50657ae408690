"""One array of the store: chunk files read through maps and changed with `pwrite`, never through zarr."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featstore.documents import open_regular, read_json, why
from featstore.errors import StoreFormatError
from featstore.files import FileOps
from featstore.promises import check_places

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]

_MAX_MAPS = 512
_MAX_OPEN = 4


def map_budget() -> int:
    """Maps that one array may hold: each keeps a file descriptor, of which the process has other uses."""
    if resource is None:
        return 64
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MAX_MAPS if soft < 0 else max(8, min(_MAX_MAPS, soft // 4))


class FlatArray:
    """Items [0, capacity) along the first axis, in chunk files of `chunk` items each.

    A chunk file is a plain C-order matrix of full size; its tail beyond the reserved items is a hole.

    Parameters
    ----------
    folder
        The array's own folder, with zarr.json and the chunk files below ``c``.
    dtype
        Type of one number.
    chunk
        Items in a chunk file.
    files
        The door to the disk.
    item_shape
        Shape of one item; () where an item is a number.
    max_maps
        Chunk files mapped at a time.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype[Any],
        chunk: int,
        files: FileOps,
        item_shape: tuple[int, ...] = (),
        max_maps: int = 8,
    ) -> None:
        self.folder = folder
        self.dtype = dtype
        self.chunk = chunk
        self.item_shape = item_shape
        self.item_bytes = dtype.itemsize * int(np.prod(item_shape, dtype=np.int64))
        self.chunk_bytes = chunk * self.item_bytes
        self._files = files
        self._max_maps = max_maps
        self._maps: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._fds: OrderedDict[int, int] = OrderedDict()
        self._dirty: set[int] = set()
        self._new_names = False

    def chunk_path(self, number: int) -> Path:
        path = self.folder / "c" / str(number)
        return path.joinpath(*("0" for _ in self.item_shape))

    # -- reading -------------------------------------------------------------------------------------------

    def mapped(self, number: int) -> NDArray[Any]:
        """One whole chunk as a read-only array [chunk, *item_shape] over its file's pages.

        Raises
        ------
        StoreFormatError
            The chunk's file is missing or not of full size.
        """
        array = self._maps.get(number)
        if array is None:
            array = self._map(number)
            self._maps[number] = array
            if len(self._maps) > self._max_maps:
                self._maps.popitem(last=False)
        else:
            self._maps.move_to_end(number)
        return array

    def _map(self, number: int) -> NDArray[Any]:
        path = self.chunk_path(number)
        self._check_place(path)
        try:
            fd = open_regular(path)
        except FileNotFoundError as error:
            raise StoreFormatError(f"chunk file {path} is missing: run `longtal store repair`") from error
        except OSError as error:
            raise StoreFormatError(f"chunk file {path} cannot be read: {why(error)}") from error
        try:
            # A page beyond the end of a mapped file is a bus error, not an exception.
            self._check_size(path, os.fstat(fd).st_size)
            pages = mmap.mmap(fd, self.chunk_bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except OSError as error:
            raise StoreFormatError(f"chunk file {path} cannot be mapped: {why(error)}") from error
        finally:
            os.close(fd)
        return np.frombuffer(pages, dtype=self.dtype).reshape(self.chunk, *self.item_shape)

    def _check_place(self, path: Path) -> None:
        """Hold that the folder of a chunk file with a folder of its own is not a link."""
        if self.item_shape:
            check_places(self.folder.parent, (path.parent,))

    def most_items(self) -> int:
        """Items for which there may be chunk files: so many as their number can hold."""
        try:
            return len(os.listdir(self.folder / "c")) * self.chunk
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise StoreFormatError(f"{self.folder} cannot be read: {why(error)}") from error

    def check_size(self, number: int) -> None:
        """Hold that a chunk's file is there in full size; StoreFormatError otherwise."""
        path = self.chunk_path(number)
        self._check_place(path)
        self._check_size(path, path.stat().st_size if path.exists() else 0)

    def _check_size(self, path: Path, size: int) -> None:
        if size != self.chunk_bytes:
            raise StoreFormatError(
                f"chunk file {path} has {size} bytes instead of {self.chunk_bytes}: "
                "run `longtal store repair`"
            )

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Copy items [start, stop) into out [stop - start, *item_shape]; StoreFormatError as `mapped`."""
        number, first = divmod(start, self.chunk)
        if first + stop - start <= self.chunk:
            out[:] = self.mapped(number)[first : first + stop - start]
            return
        done = 0
        while start < stop:
            number, first = divmod(start, self.chunk)
            count = min(self.chunk - first, stop - start)
            out[done : done + count] = self.mapped(number)[first : first + count]
            done += count
            start += count

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Items [start, stop) in an array of their own [stop - start, *item_shape]."""
        out = np.empty((stop - start, *self.item_shape), self.dtype)
        if stop > start:
            self.read_into(start, stop, out)
        return out

    # -- changing: not durable before `sync` ---------------------------------------------------------------

    def reserve(self, start: int, stop: int) -> None:
        """Set aside disk space for items [start, stop).

        A chunk that holds items before `start` must be there in full size: it is never lengthened here.

        Raises
        ------
        OSError
            The disk is full; nothing is lost.
        """
        while start < stop:
            number, first = divmod(start, self.chunk)
            count = min(self.chunk - first, stop - start)
            path = self.chunk_path(number)
            # Also where the file is there: a process that died may have left its name, not yet durable.
            self._new_names |= first == 0
            self._check_place(path)
            if first == 0 and not path.exists():
                self._files.mkdir(path.parent)
                fd = self._files.open(path, create=True)
            else:
                fd = self._files.open(path)
            try:
                if first == 0 and os.fstat(fd).st_size != self.chunk_bytes:
                    self._files.truncate(fd, self.chunk_bytes)
                self._files.allocate(fd, first * self.item_bytes, count * self.item_bytes)
            finally:
                self._files.close(fd)
            self._dirty.add(number)
            start += count

    def put(self, start: int, values: NDArray[Any]) -> None:
        """Write items from `start` on.

        Parameters
        ----------
        start
            The first item.
        values
            Array [n, *item_shape] of the array's dtype, C-contiguous.
        """
        done, total = 0, len(values)
        while done < total:
            number, first = divmod(start + done, self.chunk)
            count = min(self.chunk - first, total - done)
            self._files.pwrite(self._fd(number), values[done : done + count], first * self.item_bytes)
            self._dirty.add(number)
            done += count

    def _fd(self, number: int) -> int:
        fd = self._fds.get(number)
        if fd is None:
            if len(self._fds) >= _MAX_OPEN:
                self._files.close(self._fds.popitem(last=False)[1])
            path = self.chunk_path(number)
            self._check_place(path)
            fd = self._fds[number] = self._files.open(path)
        return fd

    def sync(self) -> None:
        """Make every change since the last sync durable."""
        if self._new_names:
            folder = self.folder / "c"
            if self.item_shape:
                for number in self._dirty:
                    self._files.sync_dir(self.chunk_path(number).parent)
            self._files.sync_dir(folder)
            self._files.sync_dir(self.folder)
        for number in sorted(self._dirty):
            self._files.sync(self._fd(number))
        self._dirty.clear()
        self._new_names = False
        self._close_fds()

    def mend(self, items: int) -> list[int]:
        """Give every chunk file of items [0, items) its full size; the numbers of those that had another.

        Raises
        ------
        StoreFormatError
            The store and the array say different full sizes: files could be blown up.
        """
        self._check_chunk_shape()
        mended = []
        for number in range(-(-items // self.chunk)):
            path = self.chunk_path(number)
            self._check_place(path)
            if path.exists() and path.stat().st_size == self.chunk_bytes:
                continue
            self._files.mkdir(path.parent)
            fd = self._files.open(path, create=True)
            try:
                self._files.truncate(fd, self.chunk_bytes)
                length = min(self.chunk, items - number * self.chunk) * self.item_bytes
                self._files.allocate(fd, 0, length)
            finally:
                self._files.close(fd)
            self._maps.pop(number, None)
            self._new_names = True
            self._dirty.add(number)
            mended.append(number)
        return mended

    def _check_chunk_shape(self) -> None:
        path = self.folder / "zarr.json"
        document = read_json(path, StoreFormatError)
        try:
            shape = document["chunk_grid"]["configuration"]["chunk_shape"]
        except (KeyError, TypeError) as error:
            raise StoreFormatError(
                f"{path} does not say the chunks' shape: restore it from a copy"
            ) from error
        mine = [self.chunk, *self.item_shape]
        if shape != mine:
            raise StoreFormatError(
                f"{path} has chunks of {shape!r:.60}, the store of {mine}: restore it from a copy"
            )

    def drop_maps(self) -> None:
        self._maps.clear()

    def close(self) -> None:
        self._maps.clear()
        self._close_fds()

    def _close_fds(self) -> None:
        while self._fds:
            self._files.close(self._fds.popitem()[1])
