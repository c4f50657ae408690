"""How an extraction goes about it, and the command line's flags as a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pipelines.actors import Actors
from pipelines.config import RunConfig, load_config, nested, parse_config
from tal.encoders.registry import find_entry
from tal.encoders.timm_encoder import has_pypi_weights
from tal.errors import ConfigError
from tal.shared.cores import usable_cores
from tal.shared.defaults import DEFAULT_ENCODER, PrecisionName

# Flag of `longtal extract` -> the key of a run's configuration that it sets.
FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "videos": "data.videos",
        "annotations": "data.annotations",
        "store": "data.store",
        "reader": "data.reader",
        "fps": "data.fps",
        "max_frames": "data.max_frames",
        "encoder": "encoder.name",
        "weights": "encoder.weights",
        "clip_frames": "encoder.clip_frames",
        "frame_stride": "encoder.frame_stride",
        "size": "encoder.size",
        "crop": "encoder.crop",
    }
)


@dataclass(frozen=True)
class ExtractOptions:
    """What an extraction needs beside a run's configuration, which says what is extracted.

    Attributes
    ----------
    subset
        only videos of this subset of the annotations; None: all.
    dtype
        of the store's rows.
    device
        auto, cpu, cuda, cuda:1, mps.
    precision
        of the encoder's arithmetic; None: ``train.precision`` of the run.
    batch_clips
        clips encoded at once; 0: 4 on a CPU, more if under 8 frames; on CUDA as many as are fastest.
    workers
        decoding processes; 0: none of their own, -1: by cores.
    repair
        extract videos with damaged rows again.
    part, parts
        which part of the videos, counted from 0, when several machines share the work.
    commit_every_s
        seconds after which rows and finished videos are made safe.
    actors
        that encode; None: this process does.

    Raises
    ------
    ConfigError
        for a number that is out of range.
    """

    subset: str | None = None
    dtype: Literal["float16", "float32"] = "float16"
    device: str = "auto"
    precision: PrecisionName | None = None
    batch_clips: int = 0
    workers: int = -1
    repair: bool = False
    part: int = 0
    parts: int = 1
    commit_every_s: float = 30.0
    actors: Actors | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.part < self.parts:
            raise ConfigError(f"part {self.part} of {self.parts}: parts are numbered from 0")
        for name, least in (("batch_clips", 0), ("workers", -1), ("commit_every_s", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} {getattr(self, name)}: must be {least} or more")

    @property
    def num_workers(self) -> int:
        return self.workers if self.workers >= 0 else max(1, min(8, usable_cores() - 1))


def flags_config(source: str | None, sets: Sequence[str], flags: Mapping[str, Any]) -> RunConfig:
    """Flags over a run's configuration, when one is named, or over defaults.

    Parameters
    ----------
    source, sets
        file or preset of a run and its ``--set`` values; None: the flags alone.
    flags
        values by the names of `FLAGS`; None: not given. ``weights`` may be ``random``.

    Raises
    ------
    ConfigError
        a value that does not fit, or ``--set`` without a configuration.
    """
    if source is None and sets:
        raise ConfigError("--set changes a run's configuration: name one with --config")
    # by flags alone nothing is trained: no window has to fit the clips
    run = load_config(source, sets) if source is not None else parse_config({"memory": {"ratio": 0.0}})
    tree = run.model_dump(mode="json")
    given = {key: flags[flag] for flag, key in FLAGS.items() if flags.get(flag) is not None}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
    if given.get("encoder.weights") == "random":
        given["encoder.weights"] = None
    configured = run.encoder.name if run.encoder is not None else None
    name = given.get("encoder.name", configured or DEFAULT_ENCODER)
    if name != configured:
        tree["encoder"] = encoder_defaults(name)
    return parse_config(nested(given, tree), source or "the flags")


def encoder_defaults(name: str) -> dict[str, Any]:
    """An encoder's section by its name: the clips and pictures that its published weights saw, and those.

    Weights come from the PyPI package where one has them, else from the hub.
    """
    values: dict[str, Any] = {"name": name}
    entry = find_entry(name)
    if entry is not None and not name.startswith("timm:"):
        values |= {key: getattr(entry, key) for key in ("clip_frames", "frame_stride", "size", "crop")}
    return values | {"weights": "pypi" if has_pypi_weights(name) else "pretrained"}


def parse_part(text: str | None) -> tuple[int, int]:
    """``2/4`` -> (1, 4): the second of four parts; None: (0, 1), the only one.

    Raises
    ------
    ConfigError
        for anything else.
    """
    if text is None:
        return 0, 1
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"--part {text!r}: write I/N, parts from 1, as in 2/4")
    return int(index) - 1, int(count)
