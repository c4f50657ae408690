"""Reading and writing small text files: one place for what can go wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tal.errors import AnnotationError
from tal.shared.files import output_errors, put_in_place


def read_bytes(path: Path) -> bytes:
    """A file's bytes; AnnotationError when it is missing, a folder or unreadable."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise AnnotationError(f"{path}: is a folder, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise AnnotationError(f"{str(path)!r}: cannot be read: {error}") from None


def read_text(path: Path) -> str:
    """A UTF-8 file's text, with or without a byte order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text (byte {error.start})") from None


def load_json(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parsed JSON of a file; AnnotationError naming line and column when it is not JSON."""
    text = read_text(path)
    try:
        return json.loads(text, object_hook=object_hook)
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"{path}: not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise AnnotationError(f"{path}: not JSON that can be read: {error}") from None
    except RecursionError:
        raise AnnotationError(f"{path}: JSON nested too deeply to be what it should be") from None


def check_name(name: object, where: str) -> None:
    """Refuse what cannot be a name of a video or a label: no text, empty, or no valid Unicode.

    Raises
    ------
    AnnotationError
        naming ``where``.
    """
    if not isinstance(name, str) or not name.strip():
        raise AnnotationError(f"{where}: {str(name)[:60]!r} is not a name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise AnnotationError(f"{where}: the name {name[:60]!r} is not valid Unicode") from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all.

    Raises
    ------
    OutputError
        the folder cannot be written (permissions, disk full), or is a file.
    """
    with output_errors(path), put_in_place(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def path_text(path: Path) -> str:
    """A path as text that any file can hold; bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")
