"""What leaves the machine with a model: what prediction reads, and of its origin what names no places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from featstore.documents import open_regular, why
from tal.errors import CheckpointError
from tal.inference.model_folder import ModelFolder, prediction_tree
from tal.inference.model_source import TRUNK

# of provenance.json; the command, the machine and folders stay
_KEPT = (
    "versions",
    "python",
    "git",
    "seed",
    "annotations_sha256",
    "data",
    "reader",
    "write_back",
    "precision",
    "features",
    "step",
    "validation_mAP",
    "adapter",
    "trunk",
    "converted",
)
_PLACE = re.compile(r"(?:hf:)?(?:[/~]|[A-Za-z]:[\\/]|file:).*|.*[\\/](?:home|Users)[\\/].*")


@dataclass(frozen=True)
class Parcel:
    """Files by the name that they have at the hub: bytes, or a file here. ``notes``: what was left out."""

    files: Mapping[str, bytes | Path]
    notes: tuple[str, ...] = field(default=())

    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }


def parcel_of(model: ModelFolder) -> Parcel:
    """The files of a model without what is private.

    Raises
    ------
    CheckpointError
        its segments are named by a file of scores of videos, which does not go along; a file is a link.
    """
    notes: list[str] = []
    tree = prediction_tree(model.tree)
    if model.config.inference.video_scores:
        if model.config.localizer.one_class and len(model.labels) > 1:
            raise CheckpointError(
                f"{model.path}: its segments are named by scores of single videos (inference.video_scores), "
                "which do not go along: without them it cannot predict"
            )
        del tree["inference"]["video_scores"]
        notes.append("config.yaml: inference.video_scores, scores of single videos, is left out")
    facts = {name: model.provenance[name] for name in _KEPT if name in model.provenance}
    if left := sorted(model.provenance.keys() - facts.keys()):
        notes.append(f"provenance.json: {', '.join(left)} stay here")

    def shorten(where: str) -> Callable[[str], str]:
        def short(text: str) -> str:
            if not _PLACE.fullmatch(text):
                return text
            name = re.split(r"[\\/]", text.rstrip("\\/"))[-1]
            notes.append(f"{where}: a path is cut to its last part, {name}")
            return f"hf:{name}" if text.startswith("hf:") else name

        return short

    config = yaml.safe_dump(
        _each_text(tree, shorten("config.yaml")), sort_keys=False, allow_unicode=True
    ).encode()
    provenance = _json(_each_text(facts, shorten("provenance.json")))
    files: dict[str, bytes | Path] = {
        "config.yaml": config,
        "model.safetensors": _regular(model.path / "model.safetensors"),
        "labels.json": _json(list(model.labels)),
        "thresholds.json": _json(dict(model.thresholds)),
        "provenance.json": provenance,
    }
    if (model.path / TRUNK).exists():
        files[TRUNK] = _regular(model.path / TRUNK)
    return Parcel(files, tuple(notes))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


def _regular(path: Path) -> Path:
    try:
        with open(open_regular(path), "rb"):
            return path
    except OSError as error:
        raise CheckpointError(f"{path} cannot be sent: {why(error)}") from error


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
