"""The configuration of a run: one typed tree, read from YAML or a preset, changed by ``--set a.b=c``.

Paths in a configuration are relative to the current folder. `tal` declares the parts that describe models;
the parts that describe a run stand here.
"""

from __future__ import annotations

import contextlib
import difflib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from pipelines.presets import find_preset
from tal.config import Config
from tal.encoders import EncoderConfig
from tal.errors import ConfigError
from tal.inference.localize import InferenceConfig
from tal.localizer import LocalizerConfig
from tal.memory.augment import AugmentConfig
from tal.memory.config import MemoryConfig, WindowConfig


class DataConfig(Config):
    """What to learn from. Without ``videos`` the run trains on the store's rows alone."""

    annotations: str = Field("", description="ActivityNet JSON (or another form that `annotations` reads)")
    videos: str = Field("", description="folder of videos; empty: stored features only")
    store: str = Field("", description="feature store made by `extract` or `store import`")
    train_subset: str = "training"
    val_subset: str = Field("validation", description="empty: no validation, the last weights are kept")
    fps: float = Field(5.0, gt=0, description="frames a second that the encoder sees")
    max_frames: int = Field(
        0, ge=0, description="sample longer videos more slowly, to at most this many frames; 0: never"
    )


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
    batch_size: int = Field(4, ge=1, description="windows a step, over all processes and accumulation")
    accumulate: int = Field(1, ge=1, description="micro-batches a step")
    seed: int = 0
    workers: int = Field(0, ge=0, description="loader processes that decode")
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="average of the weights, used for validation; 0: off"
    )
    log_every: int = Field(10, ge=1, description="steps")
    checkpoint_every: int = Field(0, ge=0, description="steps; 0: at the end of every epoch")
    validate_every: int = Field(1, ge=1, description="epochs")
    validate_from: int = Field(0, ge=0, description="first epoch after which to validate; the last always is")
    val_tiou: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)
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
                f"train.batch_size {train.batch_size} is no multiple of train.accumulate {train.accumulate}"
            )
        if self.data.videos and self.encoder is None:
            raise ValueError("data.videos is set but there is no `encoder` section to look at videos with")
        memory = self.memory
        if memory.settle_epochs:
            if memory.warmup_epochs + memory.settle_epochs >= train.epochs:
                raise ValueError(
                    f"memory.warmup_epochs {memory.warmup_epochs} and memory.settle_epochs "
                    f"{memory.settle_epochs} leave the encoder none of {train.epochs} epochs"
                )
            if not self.data.store or memory.baseline != "none" or memory.write_back == "off":
                raise ValueError(
                    "memory.settle_epochs needs a memory that is written: data.store, write_back"
                )
        if self.inference.row_weight and not self.localizer.row_loss:
            raise ValueError("inference.row_weight needs a row classifier: set localizer.row_loss above 0")
        if rows % downsample:
            raise ValueError(f"window.num_rows {rows} is no multiple of localizer.downsample {downsample}")
        if self.encoder is not None:
            rows_per_clip = self.encoder.clip_frames // self.encoder.frame_stride
            if self.end_to_end and rows % rows_per_clip:
                raise ValueError(
                    f"window.num_rows {rows} is no multiple of the {rows_per_clip} rows of a clip "
                    f"(encoder.clip_frames / encoder.frame_stride)"
                )
        return self

    @property
    def end_to_end(self) -> bool:
        """Whether training looks at videos (and not at stored rows alone)."""
        return bool(self.data.videos) and self.memory.ratio > 0


def load_config(path_or_preset: str | Path, sets: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file or a preset's name, follow ``extends``, apply ``a.b=c`` settings, check.

    Raises
    ------
    ConfigError
        for a file that is not there or no mapping, an unknown key (the nearest known one is named) or a value
        that does not fit.
    """
    path = Path(path_or_preset)
    if not path.is_file():
        path = find_preset(str(path_or_preset))
    tree = read_tree(path)
    for text in sets:
        _assign(tree, text)
    return parse_config(tree, str(path_or_preset))


def parse_config(tree: Mapping[str, Any], source: str = "configuration") -> RunConfig:
    """Check a mapping; errors name ``source``, the key and what would fit."""
    try:
        return RunConfig.model_validate(dict(tree))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from None


def save_resolved(config: RunConfig, folder: str | Path, name: str = "config.yaml") -> Path:
    """Write the whole tree, defaults included, so that it can be run again as it is."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    return path


def read_tree(path: Path, _seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """YAML mapping of a file, laid over the file or preset that its ``extends`` names."""
    if path in _seen:
        raise ConfigError(f"{path}: `extends` goes round in a circle")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds a {type(tree).__name__}; a configuration is a mapping of sections")
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    beside = path.parent / str(parent)
    base = read_tree(beside if beside.is_file() else find_preset(str(parent)), (*_seen, path))
    return _merge(base, tree)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``; a section with another ``name`` (a decoder, an encoder) replaces, not
    mixes.
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        same = (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("name", old.get("name")) == old.get("name")
        )
        result[key] = _merge(old, value) if same else value  # type: ignore[arg-type]
    return result


def _assign(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: write key=value, such as train.epochs=20")
    try:
        parsed = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text!r}: the value is no YAML") from error
    if isinstance(parsed, str):  # YAML 1.1 takes 1e-3 for a text
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    node = tree
    *parents, last = key.strip().split(".")
    for name in parents:
        child = node.get(name)
        if not isinstance(child, dict):
            child = {}
        node[name] = dict(child)
        node = node[name]
    if last == "name" and node.get("name") != parsed:
        node.clear()  # the other decoder's settings are not this one's
    node[last] = parsed


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        location = [str(part) for part in item["loc"]]
        where = ".".join(location)
        if item["type"] == "extra_forbidden":
            known = _known_keys(RunConfig, location[:-1])
            near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
            hint = f"did you mean `{near[0]}`?" if near else f"known there: {', '.join(sorted(known))}"
            lines.append(f"unknown key `{where}`; {hint}")
        else:
            message = str(item["msg"]).removeprefix("Value error, ")
            given = item.get("input")
            shown = f" (given {given!r})" if isinstance(given, str | int | float | bool) else ""
            lines.append(f"`{where}`: {message}{shown}" if where else message)
    return "; ".join(lines)


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names at a place of the tree; a union's place carries the tag of the member after its name."""
    members: list[type[BaseModel]] = [model]
    for part in location:
        fields = [m.model_fields[part].annotation for m in members if part in m.model_fields]
        if fields:
            members = [found for annotation in fields for found in _models_in(annotation)]
        else:  # the union's tag
            tagged = [
                m for m in members if "name" in m.model_fields and m.model_fields["name"].default == part
            ]
            members = tagged or members
    return sorted({name for member in members for name in member.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _models_in(part)]
