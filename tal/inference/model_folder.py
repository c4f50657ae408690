"""A model folder: all that prediction needs, written whole, read and checked. It can be moved anywhere.

``config.yaml`` (sampling, encoder, localizer, inference), ``model.safetensors`` (``encoder.*``,
``localizer.*``), ``labels.json`` (class names in order), ``thresholds.json`` (score by class, may be empty),
``provenance.json``. A model of adapters holds what was trained alone: ``provenance.json`` names the encoder's
published weights, which prediction finds where training did, or as ``trunk.safetensors`` in the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from safetensors.torch import save_file
from torch import Tensor

from featstore.documents import open_regular, read_json, read_regular, why
from featstore.errors import StoreFormatError
from featstore.spec import check_fields
from tal.annotations.files import check_name
from tal.config import Config, error_place, with_current_keys, without_removed_keys
from tal.encoders import Encoder, EncoderConfig
from tal.encoders.config import WEIGHT_KEYS
from tal.errors import AnnotationError, CheckpointError, ConfigError, WeightsError
from tal.inference.localize import InferenceConfig
from tal.inference.model_source import FILES, local_folder
from tal.inference.thresholds import check_thresholds
from tal.localizer import LocalizerConfig
from tal.localizer.old_names import with_new_names
from tal.shared.defaults import PrecisionName, ReaderName
from tal.shared.documents import parse_yaml
from tal.shared.files import put_in_place
from tal.shared.weights import contiguous, load_plain

_SECTIONS = ("data", "window", "encoder", "localizer", "train", "inference")
# of the sections that a run has for training too
_READ_KEYS = {
    "data": ("fps", "max_frames", "reader"),
    "window": ("num_rows",),
    "train": ("precision", "val_tiou", "select"),
}


class DetectorConfig(Config):
    """The part of a run's configuration that prediction needs. ``encoder`` None: stored features only."""

    fps: float = Field(default=5.0, gt=0, description="frames a second that the encoder sees")
    max_frames: int = Field(default=0, ge=0, description="longer videos are sampled more slowly; 0: never")
    reader: ReaderName = Field(default="auto", description="decodes the videos")
    precision: PrecisionName = Field(default="fp32", description="that the encoder computed in")
    window_rows: int = Field(default=320, ge=1, description="rows of a training window")
    channels: int = Field(default=0, ge=0, description="of a row; 0: the encoder's")
    encoder: EncoderConfig | None = None
    localizer: LocalizerConfig = LocalizerConfig()
    inference: InferenceConfig = InferenceConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> DetectorConfig:
        if self.inference.row_weight and not self.localizer.row_loss:
            raise ValueError(
                f"inference.row_weight is {self.inference.row_weight}, but the localizer was trained without "
                "a row classifier (localizer.row_loss 0)"
            )
        return self

    @property
    def windows(self) -> InferenceConfig:
        """Inference with the training window's length where none is given."""
        return self.inference.with_window(self.window_rows)


@dataclass(frozen=True)
class Trunk:
    """Published weights on top of which adapters were trained: whose, where they came from, their digest."""

    encoder: str
    weights: str
    sha256: str


def trunk_of(encoder: Encoder) -> dict[str, str]:
    """`Trunk` of an encoder, for provenance.json."""
    weights = str(encoder.config.weights)
    path = Path(weights)
    where = str(path.resolve()) if path.is_file() else weights
    return asdict(Trunk(encoder.name, where, encoder.weights_sha256))


@dataclass(frozen=True)
class ModelFolder:
    """What stands in the folder, checked as far as files can be; ``tree`` is config.yaml as it is.

    ``source`` is what its reader called it.
    """

    path: Path
    tree: Mapping[str, Any]
    config: DetectorConfig
    labels: tuple[str, ...]
    thresholds: Mapping[str, float]
    provenance: Mapping[str, Any]
    source: str = ""

    @property
    def trunk(self) -> Trunk | None:
        """The encoder weights that the folder leaves out; None: it holds all."""
        facts = self.provenance.get("trunk")
        if facts is None:
            return None
        try:
            return Trunk(**{name: str(facts[name]) for name in ("encoder", "weights", "sha256")})
        except (TypeError, KeyError) as error:
            raise CheckpointError(
                f"{self.path / 'provenance.json'}: `trunk` does not name weights"
            ) from error

    def weights(self) -> dict[str, Tensor]:
        """The tensors under today's names; CheckpointError when the file is damaged."""
        path = self.path / "model.safetensors"
        try:
            os.close(open_regular(path))
            return with_new_names(load_plain(path))
        except (WeightsError, OSError) as error:
            raise CheckpointError(f"{path} is damaged ({why(error)}): copy the model folder again") from error

    def fingerprint(self) -> str:
        """sha256 over the files that decide predictions."""
        digest = hashlib.sha256()
        for name in ("config.yaml", "labels.json", "model.safetensors"):
            with (self.path / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def find_model(path: str | os.PathLike[str]) -> Path:
    """The model folder that ``path`` means: itself, ``path/model`` of a run, or that of a file in it.

    A zip and ``hf:owner/name[@revision]`` are folders in the cache (`model_source`).

    Raises
    ------
    CheckpointError
        there is none, or it is not complete: the message says what is missing.
    """
    given = local_folder(path)
    if given.is_file():
        given = given.parent
    if not given.is_dir():
        raise CheckpointError(f"{path}: there is no such model folder")
    for folder in (given / "model", given):
        if (folder / "model.safetensors").is_file():
            if missing := _missing(folder):
                raise CheckpointError(f"{folder} is not a complete model folder: it lacks {missing}")
            return folder
    if (given / "config.yaml").is_file() and (given / "log.jsonl").is_file():
        raise CheckpointError(
            f"{given} is a run without a model yet: it has not validated once; go on with "
            f"`longtal train --resume --out {given}`"
        )
    raise CheckpointError(f"{given} is not a model folder: it lacks {_missing(given)}")


def _missing(folder: Path) -> str:
    return ", ".join(name for name in FILES if not (folder / name).is_file())


def read_model(path: str | os.PathLike[str]) -> ModelFolder:
    """Read a model by any of its names (`find_model`).

    Raises
    ------
    CheckpointError
        naming the file and what is wrong with it.
    """
    folder = find_model(path)
    tree = _yaml(folder / "config.yaml")
    labels = _labels(folder / "labels.json")
    thresholds = check_thresholds(
        read_json(folder / "thresholds.json", CheckpointError), folder / "thresholds.json"
    )
    provenance = read_json(folder / "provenance.json", CheckpointError)
    features = (provenance.get("features") or {}) if isinstance(provenance, dict) else None
    if not isinstance(features, dict):
        raise CheckpointError(f"{folder / 'provenance.json'}: it, and `features` in it, must be mappings")
    try:
        check_fields(features)
    except StoreFormatError as error:
        raise CheckpointError(f"{folder / 'provenance.json'}: `features`: {error}") from error
    config = _detector_config(tree, features.get("channels", 0), folder / "config.yaml")
    return ModelFolder(folder, tree, config, labels, thresholds, provenance, os.fspath(path))


def write_model(
    folder: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    config: str,
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    provenance: Mapping[str, Any],
    replace: bool = False,
) -> Path:
    """Write a model folder; what stands there is whole, also after a crash.

    Parameters
    ----------
    weights
        ``encoder.*`` (a model of stored features has none) and ``localizer.*``.
    config
        text of config.yaml: the run's resolved configuration.
    provenance
        where the model comes from; ``features`` says what its rows are.
    replace
        put it in the place of a folder that is there.

    Raises
    ------
    FileExistsError
        something stands there and is not to be replaced.
    """
    target = Path(folder)
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists already: give another folder")
    with put_in_place(target, sole_writer=True) as temporary:
        temporary.mkdir()
        save_file(contiguous(weights), temporary / "model.safetensors")
        (temporary / "config.yaml").write_text(config, encoding="utf-8")
        _write_json(temporary / "labels.json", list(labels))
        _write_json(temporary / "thresholds.json", dict(thresholds))
        _write_json(temporary / "provenance.json", dict(provenance))
    return target


def link_model(source: Path, target: Path) -> None:
    """Make ``target`` the same model as ``source``: hard links where possible, else copies."""

    def link(a: str, b: str) -> None:
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)

    with put_in_place(target, sole_writer=True) as temporary:
        shutil.copytree(source, temporary, copy_function=link)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def prediction_tree(tree: Mapping[str, Any], source: str = "config.yaml") -> dict[str, Any]:
    """Of config.yaml's tree the sections and keys that prediction reads, under today's names."""
    kept = {name: tree[name] for name in _SECTIONS if name in tree}
    kept = without_removed_keys(with_current_keys(kept, source), source)
    for section, names in _READ_KEYS.items():
        if isinstance(kept.get(section), Mapping):
            kept[section] = {name: kept[section][name] for name in names if name in kept[section]}
    return {name: dict(part) if isinstance(part, Mapping) else part for name, part in kept.items()}


def _detector_config(tree: Mapping[str, Any], channels: int, source: Path) -> DetectorConfig:
    read = {name: tree[name] for name in _SECTIONS if name in tree}  # the others are not looked at
    try:
        tree = without_removed_keys(with_current_keys(read, str(source)), str(source))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    for name in _SECTIONS:
        if not isinstance(tree.get(name) or {}, dict):
            raise CheckpointError(f"{source}: `{name}` must be a section of keys")
    data, window, training = (tree.get(name) or {} for name in ("data", "window", "train"))
    encoder = tree.get("encoder")
    values = {
        "fps": data.get("fps"),
        "max_frames": data.get("max_frames"),
        "reader": data.get("reader"),
        "precision": training.get("precision"),
        "window_rows": window.get("num_rows"),
        "channels": channels,
        # the weights are in the folder: nothing else is read, whatever the encoder began with
        "encoder": None if encoder is None else {**encoder, **dict.fromkeys(WEIGHT_KEYS)},
        "localizer": tree.get("localizer"),
        "inference": tree.get("inference"),
    }
    try:
        return DetectorConfig.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(error_place(first))
        raise CheckpointError(
            f"{source}: `{where}`: {first['msg']}; the model is of another version of longtal or was edited"
        ) from None


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = read_regular(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {why(error)}") from error
    tree = parse_yaml(data, str(path), CheckpointError)
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path}: must be a mapping of sections")
    return tree


def _labels(path: Path) -> tuple[str, ...]:
    labels = read_json(path, CheckpointError)
    if not (isinstance(labels, list) and labels and all(isinstance(x, str) for x in labels)):
        raise CheckpointError(f"{path}: must be a list of class names")
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise CheckpointError(f"{path}: {twice[0]!r:.80} is there twice")
    try:
        for label in labels:
            check_name(label, str(path))
    except AnnotationError as error:
        raise CheckpointError(str(error)) from error
    return tuple(labels)
