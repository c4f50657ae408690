"""What a user calls a model: a folder or run as it stands, a zip of one, or a repository of the hub.

The latter two become folders in the user's cache, under a name that says what is in them: a digest, a commit.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from featstore.documents import open_regular, why
from tal.errors import CheckpointError
from tal.inference.hub import PREFIX, fetch_model
from tal.shared.archives import refuse_bombs
from tal.shared.files import cache_folder, put_in_place

log = logging.getLogger("longtal.model")

FILES = ("config.yaml", "model.safetensors", "labels.json", "thresholds.json", "provenance.json")
TRUNK = "trunk.safetensors"  # published weights that the model may bring along
ALL_FILES = (*FILES, TRUNK)


def local_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, or file in it, that stands for ``path`` on this machine.

    Raises
    ------
    CheckpointError
        a zip that is damaged, or not of one model; a repository that is not to be had.
    """
    name = os.fspath(path)
    if name.startswith(PREFIX):
        return fetch_model(name, FILES, (TRUNK,))
    given = Path(name)
    if given.suffix.lower() == ".zip" and given.is_file():
        return unpack_model(given)
    return given


def unpack_model(path: Path) -> Path:
    """The folder in the cache that holds the model files of a zip; unpacked if it is not there yet.

    The files may stand at the top of the archive or in one folder of it; others are not unpacked.

    Raises
    ------
    CheckpointError
        the zip is damaged, is not of one model, or would not fit on the disk.
    """
    try:
        with open(open_regular(path.resolve()), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            place = cache_folder("models", f"zip-{digest[:32]}")
            if place.is_dir():
                return place
            with zipfile.ZipFile(file) as archive:
                entries = _model_entries(archive, path)
                _unpack(archive, entries, place, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} cannot be unpacked: {why(error)}: copy the model again") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be unpacked into {cache_folder()}: {why(error)}") from error
    return place


def _model_entries(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    refuse_bombs(archive)
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    folders = {str(_where(e).parent) for e in files if _where(e).name == "model.safetensors"}
    shallow = sorted(folder for folder in folders if len(PurePosixPath(folder).parts) < 2)
    if len(shallow) != 1:
        count = f"{len(shallow)} models" if shallow else "no model.safetensors at its top or in one folder"
        raise CheckpointError(f"{path} holds {count}: zip one model folder")
    chosen = [e for e in files if str(_where(e).parent) == shallow[0] and _where(e).name in ALL_FILES]
    names = Counter(_where(entry).name for entry in chosen)
    if missing := [name for name in FILES if name not in names]:
        raise CheckpointError(f"{path} is not a complete model: it lacks {', '.join(missing)}")
    if twice := [name for name, count in names.items() if count > 1]:
        raise CheckpointError(f"{path}: {twice[0]} is there twice")
    for entry in chosen:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise CheckpointError(f"{path}: {_where(entry).name} is not a regular file: zip the file itself")
    if len(chosen) < len(files):
        log.info("%s: %d files beside the model's are left out", path, len(files) - len(chosen))
    return chosen


def _where(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename)


def _unpack(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], place: Path, source: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(place.parent).free
    if needed > free:
        raise CheckpointError(f"{source}: {needed} bytes unpacked, and {place.parent} has {free} free")
    log.info("%s: unpacked into %s", source, place)
    with put_in_place(place, sync=True) as beside:
        beside.mkdir()
        for entry in entries:
            # the name is one of ours: nothing of the archive's names reaches the disk
            with archive.open(entry) as packed, (beside / _where(entry).name).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
