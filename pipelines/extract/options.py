"""From the command line's options to an extraction's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pipelines.extract.config import ExtractConfig, default_encoder
from tal.encoders.config import EncoderConfig
from tal.errors import ConfigError

_DEFAULT_ENCODER = "timm:tf_efficientnet_lite0"


def build_config(
    config_path: str | None,
    sets: Sequence[str],
    part: str | None,
    source: Mapping[str, Any],
    encoder: Mapping[str, Any],
    **rest: Any,
) -> ExtractConfig:
    """Options over a run's configuration (when one is named) over defaults.

    Raises
    ------
    ConfigError
        a value that makes no sense, or no videos or store at all.
    """
    values: dict[str, Any] = dict(rest)
    given_encoder = {k: v for k, v in encoder.items() if v is not None}
    try:
        if config_path is not None:
            from pipelines.config import load_config

            run = load_config(config_path, sets)
            values |= {
                "videos": run.data.videos or None,
                "annotations": run.data.annotations or None,
                "store": run.data.store or None,
                "fps": run.data.fps,
                "max_frames": run.data.max_frames,
                "seed": run.train.seed,
            }
            base = run.encoder.model_dump() if run.encoder is not None else {"name": _DEFAULT_ENCODER}
            if given_encoder.get("weights") == "random":
                given_encoder["weights"] = None
            values["encoder"] = EncoderConfig.model_validate(base | given_encoder)
        else:
            if sets:
                raise ConfigError("--set changes a run's configuration: name one with --config")
            name = given_encoder.pop("name", _DEFAULT_ENCODER)
            values["encoder"] = default_encoder(name, **given_encoder)
        values |= {k: v for k, v in source.items() if v is not None}
        if part is not None:
            values["part"], values["parts"] = _parse_part(part)
        for name in ("videos", "store"):
            if values.get(name) is None:
                raise ConfigError(f"--{name} is missing (or a --config whose data.{name} says it)")
        return ExtractConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ConfigError(
            f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error


def _parse_part(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"--part {text!r}: write I/N, parts from 1, as in 2/4")
    return int(index) - 1, int(count)
