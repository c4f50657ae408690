"""Videos that a user names: files, folders, patterns -> ids and paths."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tal.annotations import VIDEO_SUFFIXES
from tal.errors import VideoError

# Ways to name a file, the shortest that tells it from the others is taken.
_ID_FORMS: tuple[Callable[[Path], str], ...] = (
    lambda path: path.stem,
    lambda path: path.name,
    lambda path: f"{path.resolve().parent.name}/{path.stem}",
    lambda path: f"{path.resolve().parent.name}/{path.name}",
)


def find_videos(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Video id -> file, in the order named; a folder gives its videos, also those of its sub-folders.

    The id is the file's name without suffix; where that is not unique, its name with suffix, or its
    folder's name before it.

    Raises
    ------
    VideoError
        a path that is not there, or a folder or pattern without any video.
    """
    files: dict[Path, None] = {}
    for given in paths:
        for path in _expand(str(given)):
            files.setdefault(path, None)
    counts = [Counter(_text(form(path)) for path in files) for form in _ID_FORMS]
    found: dict[str, Path] = {}
    for path in files:
        forms = ((_text(form(path)), count) for form, count in zip(_ID_FORMS, counts, strict=True))
        found[next((name for name, count in forms if count[name] == 1), _text(path.as_posix()))] = path
    return found


def _text(name: str) -> str:
    """A file's name as text that can be written; bytes that are no UTF-8 become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if _is_video(p))
        if not found:
            raise VideoError(f"{text}: no video in this folder; looked for {', '.join(VIDEO_SUFFIXES)}")
        return found
    if path.exists():
        return [path]  # whatever its suffix: the decoder will say what it is
    if glob.has_magic(text):
        found = sorted(Path(p) for p in glob.glob(text, recursive=True) if _is_video(Path(p)))
        if not found:
            raise VideoError(f"{text}: no video matches this pattern; looked for {', '.join(VIDEO_SUFFIXES)}")
        return found
    raise VideoError(f"{text}: there is no such file or folder")


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith(".")
