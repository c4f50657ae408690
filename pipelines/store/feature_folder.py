"""The folder of feature files: which file is of which video, and what lies there that is not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.store.feature_files import SUFFIXES
from tal.annotations.builder import first_ids
from tal.annotations.videos import list_files, safe_id
from tal.errors import ConfigError

# Endings of the files that feature extractors write for one video, such as video_features (v-iashin).
_PARTS = ("_rgb", "_flow", "_fps", "_timestamps_ms", "_audio")
_LOAD_TABLE = "np.loadtxt(file, delimiter=',')"
# How to read an array of a kind of file that is not read here.
_OTHER_KINDS: Mapping[str, str] = {
    ".csv": f"{_LOAD_TABLE}, with skiprows=1 below a line of names",
    ".txt": "np.loadtxt(file)",
    **dict.fromkeys((".h5", ".hdf5"), "h5py.File(file)[id][:] for each id in it"),
    **dict.fromkeys((".pkl", ".pickle"), "pickle.load, if you trust where it is from"),
    ".mat": "scipy.io.loadmat(file)[name]",
    ".pth": "torch.load(file, weights_only=True); or call it .pt if it holds one tensor",
    ".safetensors": "safetensors.numpy.load_file(file)[name]",
    ".json": "np.array(json.load(open(file)))",
}


def find_files(folder: Path, prefix: str = "", suffix: str = "") -> tuple[list[tuple[str, Path]], list[str]]:
    """(id, file) of every feature file by path, and notes about files that are not taken.

    Parameters
    ----------
    prefix, suffix
        what the files' names have around the last part of the video's id.

    Raises
    ------
    ConfigError
        there is no such file, a video has several, or the folder is none: says what lies there.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: --features takes a folder of feature files")
    files: dict[str, Path] = {}
    others: list[Path] = []
    for path in list_files(folder, SUFFIXES):
        name, around = path.stem, len(prefix) + len(suffix)
        if not (name.startswith(prefix) and name.endswith(suffix) and len(name) > around):
            others.append(path)
            continue
        name = name[len(prefix) : len(name) - len(suffix)]
        video_id = safe_id("/".join((*path.relative_to(folder).parent.parts, name)))
        if video_id in files:
            raise ConfigError(f"two files for video {video_id!r}: {files[video_id]}, {path}")
        files[video_id] = path
    if not files:
        kinds, instead = ", ".join(SUFFIXES), _instead(folder, others)
        raise ConfigError(f"no {kinds} files named {prefix}ID{suffix} in {folder}{instead}")
    if not suffix:
        _refuse_parts(files, folder)
    notes = []
    if others:
        notes.append(
            f"{len(others)} files of {folder} are not named {prefix}ID{suffix}, and not read: "
            f"{first_ids([path.name for path in others])}"
        )
    return list(files.items()), notes


def _instead(folder: Path, others: list[Path]) -> str:
    """What lies in a folder without files to take, for messages."""
    if others:
        return f"; there are {first_ids([path.name for path in others])}: are --prefix and --suffix right?"
    kinds = Counter(path.suffix.lower() for path in list_files(folder, tuple(_OTHER_KINDS)))
    if not kinds:
        return ""
    kind, count = kinds.most_common(1)[0]
    return (
        f"; there are {count} {kind} files: save each video's array as ID.npy (np.save), read by "
        f"{_OTHER_KINDS[kind]}"
    )


def _refuse_parts(ids: Iterable[str], folder: Path) -> None:
    """Refuse a folder in which a video has a file for each of several parts."""
    parts: dict[str, set[str]] = {}
    for video_id in ids:
        if ending := next((p for p in _PARTS if video_id.endswith(p)), ""):
            parts.setdefault(video_id.removesuffix(ending), set()).add(ending)
    several = next((found for found in parts.values() if len(found) > 1), None)
    if several is None:
        return
    endings = [p for p in _PARTS if p in several]
    streams = (
        "; to use both streams, join them first: np.concatenate([rgb, flow], axis=1)"
        if {"_rgb", "_flow"} <= several
        else ""
    )
    raise ConfigError(
        f"{folder} has several files a video, ending in {', '.join(endings)}: say which with --suffix, such "
        f"as --suffix {endings[0]}{streams}"
    )
