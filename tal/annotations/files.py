"""Reading small text files: one place for what can go wrong with them."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featstore import documents
from tal.errors import AnnotationError


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


# Marks that begin a text in these encodings; UTF-32's begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one."""
    content = read_bytes(path)
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "UTF-8")
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AnnotationError(
            f"{path}: not {encoding} text (byte {error.start}, line {line}): save it as UTF-8 text "
            "(in a spreadsheet: 'CSV UTF-8')"
        ) from None
    if "\0" in text[:1000] and content[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise AnnotationError(f"{path}: holds zero bytes, so it is not UTF-8 text: save it as UTF-8 text")
    return text


def load_json(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parsed JSON of a file.

    ``object_hook`` is called for every object; what it returns stands in its place.

    Raises
    ------
    AnnotationError
        the file is not JSON (names line and column), or an object has a key twice (names the key): readers
        of JSON would take the last one and drop the others without a word.
    """
    return parse_json(read_text(path), str(path), object_hook)


def parse_json(text: str, source: str, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """`load_json` of text that was read from ``source``."""
    return documents.parse_json(text, source, AnnotationError, object_hook)


def too_deep(source: str) -> AnnotationError:
    """The error for what is nested so deeply that Python gives up."""
    return AnnotationError(f"{source}: nested too deeply to be what it should be")


def describe_json(content: Any) -> str:
    """The keys of parsed JSON, for messages."""
    if isinstance(content, dict):
        keys = list(content)
        inner = next((key for key in keys if isinstance(content[key], dict)), None)
        within = "" if inner is None else f", and in {inner!r:.60}: {keys_of(content[inner])}"
        return f"an object with the keys {keys_of(content)}{within}"
    if isinstance(content, list):
        first = content[0] if content else None
        shown = f", the first with the keys {keys_of(first)}" if isinstance(first, dict) else ""
        return f"a list of {len(content)}{shown}"
    return f"a {type(content).__name__}"


def keys_of(item: Mapping[str, Any]) -> str:
    """The first keys of an object, for messages."""
    shown = ", ".join(f"{key!r:.60}" for key in list(item)[:6])
    return shown + (", …" if len(item) > 6 else "") if item else "(none)"


def check_name(name: object, where: str) -> None:
    """Refuse what cannot be a name of a video or a label: no text, empty, a zero byte, or no valid Unicode.

    Raises
    ------
    AnnotationError
        naming ``where``.
    """
    if isinstance(name, int | float) and not isinstance(name, bool):
        raise AnnotationError(
            f"{where}: {name!r:.60} is a number, not a name: write the name of the class, or the number in "
            "quotation marks"
        )
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise AnnotationError(f"{where}: {str(name)[:60]!r} is not a name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise AnnotationError(f"{where}: the name {name[:60]!r} is not valid Unicode") from None


def path_text(path: Path) -> str:
    """A path as text that any file can hold; bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")
