"""Output files: safe names, nothing overwritten unless asked, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tal.errors import LongtalError
from tal.shared import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Windows refuses these as stems, whatever the extension.
_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"com{i}" for i in range(1, 10)),
    *(f"lpt{i}" for i in range(1, 10)),
}
_MAX_BYTES = 160  # of 255 that common file systems allow; the rest is for suffixes


class OutputExistsError(LongtalError, FileExistsError):
    """The output path exists already; nothing was overwritten."""


def safe_names(ids: Iterable[str]) -> dict[str, str]:
    """File stems for ids of any form: no separators, no leading dots, all different on any file system.

    An id that is a good name is its own stem; any other gets a short hash, so that stems differ.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for video_id in sorted(set(ids)):
        stem = _safe_stem(video_id)
        if stem != video_id or stem.casefold() in taken:
            digest = hashlib.sha256(video_id.encode("utf-8", "surrogatepass")).hexdigest()
            stem = f"{stem}-{digest[:10]}"
        names[video_id] = stem
        taken.add(stem.casefold())
    return names


def _safe_stem(text: str) -> str:
    stem = re.sub(r"[^\w.\- ]", "_", text).strip(" .")
    stem = stem.encode("utf-8")[:_MAX_BYTES].decode("utf-8", "ignore").rstrip(" .") or "video"
    return f"_{stem}" if stem.split(".")[0].casefold() in _RESERVED else stem


def require_new(paths: Iterable[Path], overwrite: bool = False) -> None:
    """Raise OutputExistsError when one of the files exists already and may not be replaced."""
    if overwrite:
        return
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputExistsError(
            f"{there[0]}{more} exists already and nothing was written: give another --out, or --overwrite"
        )


def write_text(path: Path, text: str, overwrite: bool = False) -> Path:
    """Write a UTF-8 file, whole or not at all.

    Raises
    ------
    OutputExistsError
        the file exists and ``overwrite`` is false.
    OutputError
        the folder cannot be written (permissions, disk full).
    """
    require_new([path], overwrite)
    files.write_text(path, text, errors="replace")
    return path


def save_figure(figure: Figure, path: Path, **options: Any) -> Path:
    """Write a picture, in place of one that is there; ``options`` as for matplotlib's `savefig`.

    Raises
    ------
    OutputError
        the picture cannot be written.
    """
    with files.output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, **options)
    return path
