"""Paths in configuration files: relative to the file that states them, so that a project can be moved whole.

Files of version 0.1 meant the current folder. Where nothing is beside the file but there, that is taken, and
the log says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featstore.remote import is_url
from pipelines.shared.console import log

# keys that hold a path, or may
PATH_KEYS = (
    "data.annotations",
    "data.corrections",
    "data.videos",
    "data.store",
    "encoder.weights",
    "encoder.adapter_weights",
    "inference.video_scores",
    "train.start_from",
)
# `encoder.weights` may also be a word: `pretrained`, a name of torchvision's
_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def with_located_paths(
    tree: Mapping[str, Any], folder: Path, source: str, before: Path | None = None
) -> dict[str, Any]:
    """The tree of a file with its paths as they are from here.

    Parameters
    ----------
    folder
        the file's: relative paths are meant from there.
    source
        the file, for the log.
    before
        the folder where the file once was, for what did not move with it.
    """
    return _each_path(tree, lambda key, value: _located(key, value, folder, source, before))


def with_portable_paths(tree: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The tree with its paths as a file in ``folder`` states them (`portable`)."""
    return _each_path(tree, lambda key, value: portable(Path(value), folder))


def with_absolute_paths(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with absolute paths, for a file that goes its own way."""
    return _each_path(tree, lambda key, value: str(Path(value).absolute()))


def portable(path: Path, folder: Path) -> str:
    """A path as a file in ``folder`` states it.

    Relative where both lie in one project: the path is below the folder, its parent or its grandparent, which
    is neither the root nor the user's home. Absolute otherwise: what lies elsewhere does not move along.
    """
    target, home = _absolute(path), _absolute(Path.home())
    here = _absolute(folder)
    for project in (here, *here.parents[:2]):
        if project in (home, *home.parents):
            break
        if target.is_relative_to(project):
            return Path(os.path.relpath(target, here)).as_posix()
    return str(target)


def _absolute(path: Path) -> Path:
    """Without ``..``; links stay as they are, since a folder of links is a folder of the user's."""
    return Path(os.path.abspath(path))


def _located(key: str, value: str, folder: Path, source: str, before: Path | None) -> str:
    path = Path(value).expanduser()
    if path.is_absolute():
        return str(path)
    beside, here = _tidy(folder / path), path
    if same_path(beside, here):
        return str(here)
    if beside.exists():
        if here.exists():
            log.info("%s: %s %s is %s; the one in the current folder is another", source, key, value, beside)
        return str(beside)
    if before is not None and (old := _tidy(before / path)).exists():
        log.info("%s: %s %s stayed where the run was: %s", source, key, value, old)
        return str(old)
    # what is still to be made goes where its folder is
    if here.exists() or (here.parent.is_dir() and not beside.parent.is_dir()):
        log.info("%s: %s %s is not beside the file; taken from the current folder", source, key, value)
        return str(here)
    return str(beside)


def same_path(one: Path, two: Path) -> bool:
    """Whether two paths mean one place, links aside."""
    return _absolute(one) == _absolute(two)


def _tidy(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _each_path(tree: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    result = dict(tree)
    for key in PATH_KEYS:
        section, name = key.split(".")
        values = result.get(section)
        if not isinstance(values, Mapping) or not _is_path(key, values.get(name)):
            continue
        result[section] = {**values, name: change(key, values[name])}
    return result


def _is_path(key: str, value: object) -> bool:
    if not isinstance(value, str) or not value or is_url(value):
        return False
    if key == "train.start_from" and value.startswith("hf:"):
        return False
    return key != "encoder.weights" or "/" in value or value.lower().endswith(_WEIGHT_SUFFIXES)
