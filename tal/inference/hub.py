"""Models of the Hugging Face hub: only a model's own files are fetched, no code is run.

A commit's files are fetched into a folder beside its place in the cache, which takes its name when all are
there: what was cut is not taken for a model, and is gone on with by the next call.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tal.errors import CheckpointError
from tal.shared.files import cache_folder, write_text

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger("longtal.model")

PREFIX = "hf:"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 10.0  # for the hub's answer to the first question


def repository_of(name: str) -> tuple[str, str]:
    """``owner/name`` and revision (main unless one is named) of ``hf:owner/name[@revision]``.

    Raises
    ------
    CheckpointError
        it is not of this form.
    """
    repository, at, revision = name.removeprefix(PREFIX).partition("@")
    if not _NAME.fullmatch(repository) or ".." in repository or "--" in repository or (at and not revision):
        raise CheckpointError(f"{name!r} is not a repository of the hub: write hf:owner/name[@revision]")
    return repository, revision or "main"


def fetch_model(name: str, files: Sequence[str], optional: Sequence[str] = ()) -> Path:
    """The folder in the cache that holds a repository's model; fetched if its commit is not there yet.

    Where the hub does not answer, the commit that it last named is taken, and the log warns.

    Parameters
    ----------
    name
        ``hf:owner/name[@revision]``.
    files
        that the repository must have, at its top; ``optional``: those that are fetched where it has them.

    Raises
    ------
    CheckpointError
        the name makes no sense, the repository is not there or not a model, or the hub is not reachable.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, RepositoryNotFoundError, RevisionNotFoundError

    repository, revision = repository_of(name)
    folder = cache_folder("models", "hub", repository.replace("/", "--"))
    if _COMMIT.fullmatch(revision) and (folder / revision).is_dir():
        return folder / revision
    try:
        info = HfApi(library_name="longtal").model_info(
            repository, revision=revision, files_metadata=True, timeout=_SECONDS
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        what = "revision" if isinstance(error, RevisionNotFoundError) else "repository"
        raise CheckpointError(
            f"{name}: the hub has no such {what}; one that is private needs a token (`hf auth login`)"
        ) from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        if (known := _last_named(folder, revision)) is not None:
            log.warning("%s: the hub does not answer (%s); taken from %s", name, first_line(error), known)
            return known
        raise CheckpointError(
            f"{name}: the hub does not answer ({first_line(error)}), and no copy is here: fetch it elsewhere "
            f"(`hf download {repository} --local-dir FOLDER`), bring the folder, and name it"
        ) from error
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise CheckpointError(f"{name}: the hub's answer names no commit")
    place = folder / commit
    if not place.is_dir():
        _fetch(name, repository, info, place, files, optional)
    write_text(folder / "refs" / _reference(revision), commit)
    return place


def _fetch(
    name: str,
    repository: str,
    info: ModelInfo,
    place: Path,
    files: Sequence[str],
    optional: Sequence[str],
) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if missing := [file for file in files if file not in sizes]:
        raise CheckpointError(f"{name} is not a model of longtal: it lacks {', '.join(missing)}")
    wanted = [*files, *(file for file in optional if file in sizes)]
    partial = place.with_name(f"{place.name}.part")
    partial.mkdir(parents=True, exist_ok=True)
    needed, free = sum(sizes[file] for file in wanted), shutil.disk_usage(partial).free
    if needed > free:
        raise CheckpointError(f"{name} has {needed} bytes, and {place.parent} has {free} free")
    log.info("%s: fetching %d files, %.1f MB", name, len(wanted), needed / 1e6)
    try:
        for file in wanted:
            hf_hub_download(repository, file, revision=place.name, local_dir=partial, library_name="longtal")
            if (have := (partial / file).stat().st_size) != sizes[file]:
                raise OSError(f"{file} has {have} bytes instead of {sizes[file]}")
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub's notes on what is under way
        os.rename(partial, place)
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        if place.is_dir():  # another process was here first
            return
        raise CheckpointError(
            f"{name} could not be fetched ({first_line(error)}); what came is kept: the same command goes on"
        ) from error


def _last_named(folder: Path, revision: str) -> Path | None:
    """The commit here that the hub last named under a revision."""
    try:
        commit = (folder / "refs" / _reference(revision)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    place = folder / commit
    return place if _COMMIT.fullmatch(commit) and place.is_dir() else None


def _reference(revision: str) -> str:
    """A file name for a branch or tag, which may hold slashes."""
    return revision.encode("utf-8", "surrogateescape").hex()


def first_line(error: Exception) -> str:
    """The first line of an error of the hub, whose messages are long."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
