"""Reading what others may have written: regular files inside their folder, and JSON, with errors in words."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featstore.errors import LongtalError

# Descriptions are kilobytes; a log of a long run some megabytes.
_MOST_BYTES = 256 << 20


def open_regular(path: Path) -> int:
    """Open a file for reading; its descriptor.

    Raises
    ------
    OSError
        There is none, or a link, a folder, a pipe or a device stands there: a link in a folder from elsewhere
        may lead anywhere, and a pipe would keep its reader waiting.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link: put the file itself there", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return fd


def read_regular(path: Path) -> bytes:
    """A small file's bytes; OSError as `open_regular`, or when it is not small."""
    with open(open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {_MOST_BYTES >> 20} MiB", str(path))
        return file.read()


def why(error: Exception) -> str:
    """What an error says, on one line and without the path, which the message around it names."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return next(iter(text.strip().splitlines()), type(error).__name__)


def parse_json(
    text: str | bytes,
    source: str,
    error_type: type[LongtalError],
    object_hook: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Parsed JSON.

    Parameters
    ----------
    text
        The JSON; bytes are UTF-8.
    source
        Where it was read, for messages.
    error_type
        What to raise.
    object_hook
        Called for every object; what it returns stands in its place.

    Raises
    ------
    LongtalError
        Of `error_type`: not JSON (names line and column), nested too deeply, or an object has a key twice
        (names the key): readers of JSON would take the last one and drop the others without a word.
    """

    def take(pairs: list[tuple[str, Any]]) -> Any:
        item = dict(pairs)
        if len(item) != len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise error_type(
                f"{source}: {twice[:60]!r} is there twice in one JSON object: merge the two, or rename one"
            )
        return item if object_hook is None else object_hook(item)

    try:
        return json.loads(text, object_pairs_hook=take)
    except json.JSONDecodeError as error:
        raise error_type(
            f"{source}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except LongtalError:
        raise
    except ValueError as error:  # a number of thousands of digits, bytes that are not UTF-8
        raise error_type(f"{source}: not JSON that can be read: {error}") from None
    except RecursionError:
        raise error_type(f"{source}: nested too deeply to be what it should be") from None


def read_json(path: Path, error_type: type[LongtalError]) -> Any:
    """Parsed JSON of a small file that must stand in its folder itself; errors of ``error_type``."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise error_type(f"{path} cannot be read: {why(error)}") from error
    return parse_json(data, str(path), error_type)
