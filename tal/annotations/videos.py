"""The video files of a folder, and the id that each has.

A video's id is its path below the folder, without the suffix: ``P01/P01_11`` for ``P01/P01_11.mp4``. Files
that differ in nothing but the suffix all keep it.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tal.annotations.builder import first_ids
from tal.annotations.ids import VIDEO_SUFFIXES, IdIndex, IdMatches
from tal.errors import VideoError

log = logging.getLogger("longtal.video")


class VideoFolder:
    """The videos of a folder and its sub-folders, listed once; ``files``: id -> path.

    A folder that is not there has none. Ids from elsewhere are looked up among those that were listed, so
    that no id can name a file outside the folder, unless through a link that the user has put into it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.files: Mapping[str, Path] = name_files(self.folder, list_videos(self.folder))
        self._index = IdIndex(self.files)

    def match(self, ids: Iterable[str]) -> IdMatches:
        """Pair ids of an annotation file, say, with those of the files (`tal.annotations.ids.IdIndex`)."""
        return self._index.match(ids)


def find_video(videos_dir: str | Path, video_id: str) -> Path | None:
    """The file of one video. For many, `VideoFolder` lists the folder only once."""
    folder = VideoFolder(videos_dir)
    pair = folder.match([video_id]).pairs.get(video_id)
    return folder.files[pair] if pair is not None else None


# What systems and shares put into users' folders, beside names that begin with a dot.
_LITTER = {
    name.casefold()
    for name in ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found")
}


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no part of a user's videos."""
    return name.startswith(".") or is_litter(name)


def is_litter(name: str) -> bool:
    """Whether a system or a share left a file or folder of this name: `._a.mp4`, `@eaDir`."""
    return name.startswith("._") or name.casefold() in _LITTER


def list_videos(folder: Path) -> list[Path]:
    """Video files of a folder and its sub-folders by path."""
    return list_files(folder, VIDEO_SUFFIXES)


def other_files(folder: Path) -> list[Path]:
    """Files that are not taken for videos because of their suffix."""
    return [p for p in list_files(folder, ("",)) if not p.name.lower().endswith(VIDEO_SUFFIXES)]


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files with one of the suffixes (in any case), by path, also of sub-folders and through links.

    Hidden ones (`is_hidden`) and those in hidden sub-folders are left out. A sub-folder that cannot be listed
    is left out with a warning; a folder that is not there has no files.

    Raises
    ------
    VideoError
        the folder itself cannot be listed.
    """
    try:
        return sorted(_walk(folder, tuple(suffixes), ()))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise VideoError(f"{folder} cannot be listed: {error.strerror or error}") from error


def _walk(folder: Path, suffixes: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder that it lies in
        return
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        path = folder / entry.name
        if is_hidden(entry.name):
            log.debug("%s is left out: hidden", path)
        elif entry.is_dir():
            try:
                yield from _walk(path, suffixes, (*above, here))
            except OSError as error:
                log.warning("%s is left out, it cannot be listed: %s", path, error.strerror or error)
        elif entry.name.lower().endswith(suffixes):
            if entry.is_file():
                yield path
            else:
                log.warning("%s is left out: it is a link to nothing, or is not a file", path)


def name_files(root: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """Id -> path of files below ``root``, in the order given.

    Raises
    ------
    VideoError
        two names that differ only in characters that no id can have.
    """
    whole = {path: safe_id(path.relative_to(root).as_posix()) for path in paths}
    ids = {path: _without_suffix(name) for path, name in whole.items()}
    while True:
        counts = Counter(ids.values())
        doubled = [path for path, name in ids.items() if counts[name] > 1]
        mendable = [path for path in doubled if ids[path] != whole[path]]
        if not mendable:
            break
        ids |= {path: whole[path] for path in mendable}
    if doubled:
        names = [os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace") for path in doubled]
        raise VideoError(
            f"{root}: {first_ids(names)} would have the same id, {ids[doubled[0]]!r}: rename one of them"
        )
    return {name: path for path, name in ids.items()}


def safe_id(text: str) -> str:
    """A path as an id: what an id cannot hold (bytes that are no UTF-8, control characters, backslashes, a
    drive's colon) becomes U+FFFD.
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return re.sub(r"[\x00-\x1f\x7f\\]|(?<=^[A-Za-z]):", "\N{REPLACEMENT CHARACTER}", text)


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return name if path.stem.strip(".") == "" else name.removesuffix(path.suffix)
