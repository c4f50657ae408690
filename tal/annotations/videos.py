"""From the ids of an annotation file to video files; ids are not trusted."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")

# Longer names exist on no common file system.
_MAX_NAME_BYTES = 255


def find_video(videos_dir: str | Path, video_id: str) -> Path | None:
    """The file of a video: ``ID.mp4`` and other suffixes, ``ID`` itself, with or without ActivityNet's
    ``v_``.

    An id may name a file in a sub-folder (``P01/P01_11``). One that would leave the folder (absolute, ``..``,
    a drive letter) or that no file can have (NUL, over-long) finds nothing. Links that the user has put into
    the folder are followed: data sets are commonly linked together.
    """
    root = Path(videos_dir)
    names = [video_id]
    folder, slash, last = video_id.rpartition("/")
    names.append(folder + slash + (last[2:] if last.startswith("v_") else "v_" + last))
    for name in names:
        if not _is_safe(name):
            continue
        candidates = [name + suffix for suffix in (*VIDEO_SUFFIXES, *(s.upper() for s in VIDEO_SUFFIXES))]
        if name.lower().endswith(VIDEO_SUFFIXES):
            candidates.insert(0, name)
        for candidate in candidates:
            path = root / candidate
            if _is_file(path):
                return path
    return None


def _is_safe(name: str) -> bool:
    if not name or "\0" in name or "\\" in name or name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return False
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return False
    # room for the longest suffix
    return all(len(part.encode("utf-8", "surrogatepass")) <= _MAX_NAME_BYTES - 5 for part in parts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a path, lone surrogates, a loop of links
        return False
