"""The configuration of a run: one typed tree, read from YAML or a preset, changed by ``--set a.b=c``.

Paths in a file are relative to that file, those of ``--set`` to the current folder. `tal` declares the parts
that describe models; the parts that describe a run stand here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.presets import FOLDER as PRESETS
from pipelines.presets import find_preset, list_parts
from pipelines.shared.config_errors import explain
from pipelines.shared.config_paths import with_absolute_paths, with_located_paths, with_portable_paths
from pipelines.shared.files import write_text
from tal.config import Config, current_key, with_current_keys, without_removed_keys
from tal.decoders.pyramid.config import PyramidConfig
from tal.encoders import EncoderConfig
from tal.errors import ConfigError
from tal.inference.localize import InferenceConfig
from tal.localizer import LocalizerConfig
from tal.memory.augment import AugmentConfig
from tal.memory.config import MemoryConfig, WindowConfig
from tal.metrics.protocols import DEFAULT_TIOU, get_protocol
from tal.shared.defaults import PrecisionName, ReaderName
from tal.shared.documents import parse_yaml, read_yaml

# A subset that the data set's protocol chooses among those of the annotations.
AUTO = "auto"


class DataConfig(Config):
    """What to learn from. Without ``videos`` the run trains on the store's rows alone."""

    annotations: str = Field("", description="ActivityNet JSON (or another form that `annotations` reads)")
    corrections: str = Field("", description="what a person corrected, laid over the annotations")
    videos: str = Field("", description="folder of videos; empty: stored features only")
    store: str = Field(
        "", description="feature store made by `extract` or `store import`, or a URL that one was pushed to"
    )
    store_place: str = Field("", description="where the store was fetched from; a run writes it down")
    store_generation: int = Field(0, ge=0, description="generation to fetch; 0: the newest")
    protocol: str = Field(
        "generic", description="benchmark (as in `evaluate --protocol`) that says which subsets are which"
    )
    train_subset: str = Field(AUTO, description="auto: the protocol's; generic: training")
    val_subset: str = Field(
        AUTO,
        description="auto: the protocol's; generic: validation. Empty: none, the last weights are kept",
    )
    target: Literal["action", "verb", "noun"] = Field(
        "action", description="what a label of EPIC-KITCHENS' own CSV files is"
    )
    reader: ReaderName = Field(
        "auto", description="decodes the videos; auto: pyav. The others' pictures differ a little"
    )
    fps: float = Field(5.0, gt=0, description="frames a second that the encoder sees")
    max_frames: int = Field(
        0, ge=0, description="sample longer videos more slowly, to at most this many frames; 0: never"
    )

    @field_validator("protocol")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return get_protocol(name).name


class OptimConfig(Config):
    """Optimizer and learning rate; times are in epochs, warm-up included in ``train.epochs``."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0, description="on weights of two or more dimensions only")
    momentum: float = 0.9
    encoder_lr_multiplier: float = Field(0.1, ge=0)
    schedule: Literal["cosine", "cosine_restarts", "multistep", "constant"] = "cosine"
    warmup_epochs: float = Field(1.0, ge=0)
    warmup_factor: float = Field(0.0, ge=0, le=1, description="learning rate at the first step, as a share")
    min_lr_factor: float = Field(0.01, ge=0, le=1, description="floor of the cosine, as a share")
    restart_epochs: float = Field(100.0, gt=0, description="length of a cosine under `cosine_restarts`")
    milestones: tuple[float, ...] = Field((), description="epochs at which `multistep` multiplies by gamma")
    gamma: float = 0.1
    clip_norm: float = Field(1.0, ge=0, description="largest L2 norm of the gradient; 0: no clipping")


class TrainConfig(Config):
    """The loop: how long, how many at once, what is watched and kept."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(4, ge=1, description="windows per step, over all processes and accumulation")
    accumulate: int = Field(1, ge=1, description="micro-batches per step")
    seed: int = 0
    start_from: str = Field(
        "", description="run or model (folder, zip, hf:owner/name) whose weights it starts from"
    )
    workers: int = Field(
        -1,
        ge=-1,
        description="processes that decode; -1: the cores divided by the run's processes, and none on a CPU, "
        "where the encoder needs them",
    )
    precision: PrecisionName = Field(
        "fp32",
        description="of training, and of the encoder in extraction, validation and prediction; tf32: fp32 "
        "with rounded factors, faster on GPUs",
    )
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="average of the weights, used for validation; 0: off"
    )
    log_every: int = Field(10, ge=1, description="steps")
    checkpoint_every: int = Field(0, ge=0, description="steps; 0: at the end of every epoch")
    validate_every: int = Field(1, ge=1, description="epochs")
    validate_from: int = Field(0, ge=0, description="first epoch after which to validate; the last always is")
    val_tiou: tuple[float, ...] = DEFAULT_TIOU
    keep_best: int = Field(1, ge=0, description="model folders kept by validation mAP, beside the last")
    select: Literal["best", "last"] = Field("best", description="weights that become RUN/model")
    max_nonfinite: int = Field(
        10, ge=0, description="steps with a non-finite loss or gradient before the run stops"
    )
    compile: bool = Field(False, description="compile the localizer (torch.compile)")
    deterministic: bool = Field(False, description="deterministic kernels where torch has them")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


class RunConfig(Config):
    """Everything that decides a run's result."""

    description: str = ""
    notes: dict[str, str] = Field(
        default_factory=dict,
        description="key of this tree -> where its value comes from, or why it was chosen",
    )
    data: DataConfig = DataConfig()
    encoder: EncoderConfig | None = None
    memory: MemoryConfig = MemoryConfig()
    window: WindowConfig = WindowConfig()
    augment: AugmentConfig = AugmentConfig()
    localizer: LocalizerConfig = LocalizerConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    inference: InferenceConfig = InferenceConfig()

    @field_validator("notes")
    @classmethod
    def _drop_empty(cls, notes: dict[str, str]) -> dict[str, str]:
        """An empty note takes back one of the preset that this one extends."""
        return {key: text for key, text in notes.items() if text}

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        train, rows, downsample = self.train, self.window.num_rows, self.localizer.downsample
        if train.batch_size % train.accumulate:
            raise ValueError(
                f"train.batch_size {train.batch_size} is not a multiple of "
                f"train.accumulate {train.accumulate}"
            )
        if train.accumulate > 1 and (reason := self.needs_whole_batch):
            raise ValueError(f"{reason}: set train.accumulate to 1 (given {train.accumulate}), or change it")
        if self.data.videos and self.encoder is None:
            raise ValueError("data.videos is set but there is no `encoder` section to look at videos with")
        memory = self.memory
        if last := memory.finetune_localizer_epochs:
            if memory.warmup_epochs + last >= train.epochs:
                raise ValueError(
                    f"memory.warmup_epochs {memory.warmup_epochs} and memory.finetune_localizer_epochs "
                    f"{last} leave the encoder none of {train.epochs} epochs"
                )
            if not self.data.store or memory.baseline != "none" or memory.write_back == "off":
                raise ValueError(
                    "memory.finetune_localizer_epochs needs a memory that is written: data.store, write_back"
                )
        if self.inference.row_weight and not self.localizer.row_loss:
            raise ValueError("inference.row_weight needs a row classifier: set localizer.row_loss above 0")
        if rows % downsample:
            raise ValueError(f"window.num_rows {rows} is not a multiple of localizer.downsample {downsample}")
        if self.encoder is not None:
            rows_per_clip = self.encoder.grid.rows_per_clip
            if self.end_to_end and rows % rows_per_clip:
                raise ValueError(
                    f"window.num_rows {rows} is not a multiple of the {rows_per_clip} rows of a clip "
                    f"(encoder.clip_frames / encoder.frame_stride)"
                )
        return self

    @property
    def needs_whole_batch(self) -> str:
        """Why a step cannot be taken in micro-batches; empty: it can."""
        decoder = self.localizer.decoder
        reason = decoder.whole_batch_reason if isinstance(decoder, PyramidConfig) else ""
        return f"localizer.decoder.{reason}" if reason else ""

    @property
    def adapter_lr_multiplier(self) -> float:
        """Learning rate of the encoder's adapters as a share of the optimizer's; 1 without any."""
        adapter = self.encoder.adapter if self.encoder is not None else None
        return adapter.lr_multiplier if adapter is not None else 1.0

    @property
    def learns_one_class(self) -> bool:
        """Whether all labels are learnt as one and nothing names them."""
        return self.localizer.one_class and not self.inference.video_scores

    @property
    def end_to_end(self) -> bool:
        """Whether training looks at videos (and not at stored rows alone)."""
        return bool(self.data.videos) and self.memory.ratio > 0


def load_config(path_or_preset: str | Path, sets: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file or a preset's name, follow ``extends``, apply ``a.b=c`` settings, check.

    Raises
    ------
    ConfigError
        for a file that does not exist or is not a mapping, a part (it is for ``extends``), an unknown key
        (the nearest known one is named) or a value that does not fit.
    """
    path = Path(path_or_preset)
    if not path.is_file():
        path = find_preset(str(path_or_preset))
    if path in list_parts().values():
        raise ConfigError(
            f"{path_or_preset} is a part of presets, not a configuration: name it in a file's `extends`"
        )
    return parse_config(_with_sets(read_tree(path), sets), str(path_or_preset))


def with_settings(config: RunConfig, sets: Iterable[str]) -> RunConfig:
    """A configuration changed by ``a.b=c`` settings.

    Raises
    ------
    ConfigError
        a setting does not fit.
    """
    return parse_config(_with_sets(config.model_dump(mode="json"), sets), "--set")


def parse_config(tree: Mapping[str, Any], source: str = "configuration") -> RunConfig:
    """Check a mapping; errors name ``source``, the key and what would fit.

    Keys of older releases are renamed, or left out where they are constants now (`tal.config`).
    """
    try:
        current = without_removed_keys(with_current_keys(tree, source), source)
        return RunConfig.model_validate(current)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, RunConfig)}") from None


def save_resolved(config: RunConfig, folder: str | Path, name: str = "config.yaml") -> Path:
    """Write the whole tree, defaults included, so that it can be run again as it is.

    Paths are relative to the folder where they lie in one project with it (`config_paths.portable`).
    """
    tree = with_portable_paths(config.model_dump(mode="json"), Path(folder))
    return write_text(Path(folder) / name, _yaml_text(tree), overwrite=True)


def portable_text(config: RunConfig) -> str:
    """The whole tree as YAML for a file that goes its own way: with absolute paths."""
    return _yaml_text(with_absolute_paths(config.model_dump(mode="json")))


def _yaml_text(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)


def read_tree(
    path: Path, _children: tuple[Path, ...] = (), _known: dict[Path, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """YAML mapping of a file, laid over the files or presets that its ``extends`` names.

    Relative paths of a file are those beside it; of a preset they are those in the current folder.

    ``extends`` is one name or a list of them, of which each is laid over those before it. A name is a file's,
    relative to the file that extends it, or a preset's or a part's.

    Raises
    ------
    ConfigError
        for a file that cannot be read or is not a mapping, for a parent that does not exist (the nearest
        presets and parts are named), and when a file extends itself, directly or not.
    """
    known = {} if _known is None else _known  # each file once: two names in each of thirty files are billions
    place = path.resolve()
    if place in _children:
        raise ConfigError(f"{path}: `extends` goes round in a circle")
    if place in known:
        return known[place]
    tree = with_current_keys(read_mapping(path), str(path))
    if not path.is_relative_to(PRESETS):
        tree = with_located_paths(tree, path.parent, str(path))
    base: dict[str, Any] = {}
    for parent in _parents(tree.pop("extends", None) or [], path):
        base = merge(base, read_tree(parent, (*_children, place), known))
    known[place] = merge(base, tree)
    return known[place]


def read_mapping(path: Path) -> dict[str, Any]:
    """YAML mapping of a file as it stands there; ConfigError where it is something else."""
    tree = read_yaml(path, ConfigError) or {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds a {type(tree).__name__}; a configuration is a mapping of sections")
    if strange := [key for key in tree if not isinstance(key, str)]:
        raise ConfigError(f"{path}: {strange[0]!r:.60} is not the name of a section")
    return tree


def _parents(extends: object, path: Path) -> list[Path]:
    """Files that the value of ``extends`` names."""
    names = [extends] if isinstance(extends, str) else extends
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ConfigError(f"{path}: `extends` takes a name or a list of names, not {extends!r}")
    try:
        return [beside if (beside := path.parent / n).is_file() else find_preset(n) for n in names]
    except ConfigError as error:
        raise ConfigError(f"{path}: `extends`: {error}") from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``: sections mix, values replace.

    A section with another ``name`` (a decoder, an encoder) replaces too: its settings are not the other's.
    One without a name, as a data set's part has for a decoder yet to be chosen, mixes with any.
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _same_name(old, value):
            value = merge(old, value)
        result[key] = value
    return result


def _same_name(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return not ("name" in old and "name" in new) or old["name"] == new["name"]


def nested(settings: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Dotted keys as a tree of sections: ``{"a.b": 1}`` -> ``{"a": {"b": 1}}``.

    Parameters
    ----------
    settings
        values by dotted key, of any type; the tree has them in this order.
    base
        a tree to lay them into; it is not changed. What stands in the way of a section gives way.
    """
    tree = dict(base or {})
    for key, value in settings.items():
        node = tree
        *sections, last = key.split(".")
        for name in sections:
            child = node.get(name)
            node[name] = dict(child) if isinstance(child, dict) else {}
            node = node[name]
        node[last] = value
    return tree


def parse_sets(sets: Iterable[str]) -> list[tuple[str, Any]]:
    """Dotted keys and values of ``--set`` texts, in order; values are YAML.

    Raises
    ------
    ConfigError
        for a text that is not ``key=value``, or a value that is not YAML.
    """
    return [_parse_set(text) for text in sets]


def _parse_set(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: write key=value, such as train.epochs=20")
    parsed = parse_yaml(value, f"--set {text!r:.200}: the value", ConfigError) if value else ""
    return current_key(key.strip(), "--set"), parsed


def _with_sets(tree: dict[str, Any], sets: Iterable[str]) -> dict[str, Any]:
    for key, value in parse_sets(sets):
        tree = _assign(tree, key, value)
    return tree


def _assign(tree: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    """One value of a tree changed. Another decoder or encoder starts from its own defaults."""
    section, _, last = key.rpartition(".")
    if section and last == "name" and _at(tree, section).get("name") != value:
        tree = nested({section: {}}, tree)
    return nested({key: value}, tree)


def _at(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A section of a tree; an empty one where there is none."""
    for name in key.split("."):
        child = tree.get(name)
        tree = child if isinstance(child, dict) else {}
    return tree
