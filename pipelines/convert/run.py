"""A checkpoint of a released code base becomes a model folder for `predict`, `train` and `Detector.load`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.config import RunConfig, parse_config, portable_text
from pipelines.convert.conversion import Conversion
from pipelines.convert.labels import class_names
from pipelines.convert.tallformer import convert_tallformer
from pipelines.shared.provenance import provenance
from tal.decoders.pyramid.config import PyramidConfig
from tal.errors import CheckpointError, ConfigError
from tal.inference.model_folder import write_model
from tal.localizer import Localizer
from tal.released import (
    SYSTEMS,
    TALLFORMER,
    complete_options,
    decoder_config,
    infer_config,
    read_weights,
    suppression_config,
    to_state,
)
from tal.shared.documents import read_yaml


def convert(
    checkpoint: str | Path,
    system: str,
    out: str | Path,
    config: str | Path | None = None,
    labels: Sequence[str] | None = None,
    ema: bool = True,
) -> Conversion:
    """Convert ``checkpoint`` of ``system`` (`SYSTEMS` or `TALLFORMER`) and write the model folder ``out``.

    Parameters
    ----------
    config
        the YAML file that the checkpoint was trained with, in the released code's own keys, for TALLFormer a
        preset or a configuration of longtal; None: settings are inferred from the shapes of the weights, and
        ``assumed`` of the result names the others.
    labels
        names of the classes, in order.
    ema
        take the averaged weights where the file has both.

    Raises
    ------
    CheckpointError
        the file is not a checkpoint of that system, or does not fit the configuration.
    ConfigError
        the configuration cannot be read, or ``out`` exists already.
    """
    known = (*SYSTEMS, TALLFORMER)
    if system not in known:
        raise ConfigError(f"unknown system {system!r}; known: {', '.join(known)}")
    out = Path(out)
    if out.exists():
        raise ConfigError(f"{out} exists already; name a new folder")
    weights = read_weights(checkpoint, ema)
    if system == TALLFORMER:
        return convert_tallformer(weights, checkpoint, out, config, labels)
    released = _read_yaml(Path(config)) if config is not None else {}
    options = complete_options(system, released or infer_config(system, weights))
    try:
        decoder = decoder_config(system, options)
        suppression = suppression_config(system, options)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{config or checkpoint}: {_first_line(error)}") from error
    inputs = options["input_dim"]
    channels = sum(inputs) if isinstance(inputs, list | tuple) else int(inputs)
    classes = int(options["num_classes"])
    names = class_names(labels, classes)
    dataset = released.get("dataset", {})
    run = _run_config(system, checkpoint, decoder, suppression.model_dump(mode="json"), dataset)

    localizer = Localizer(run.localizer, channels, classes, run.window.num_rows)
    localizer.decoder.load_state_dict(to_state(system, weights, localizer.decoder.state_dict()))
    state = {f"localizer.{name}": value for name, value in localizer.state_dict().items()}

    made = provenance()
    made["features"] = _features(channels, dataset)
    made["converted"] = {
        "from": system,
        "checkpoint": Path(checkpoint).name,
        "config": config and Path(config).name,
    }
    write_model(out, state, portable_text(run), names, {}, made)
    return Conversion(
        out,
        decoder.name,  # type: ignore[attr-defined]
        sum(p.numel() for p in localizer.parameters()),
        channels,
        classes,
        _outside_scores(options) if released else _ASSUMED[system],
    )


def _outside_scores(options: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be said of video-level scores, which the release multiplies with its own."""
    name = options["test_cfg"].get("ext_score_file")
    if not name:
        return ()
    return (f"no outside classifier: {name} is not read (see inference.video_scores)",)


_ALWAYS = (
    "training length 2304",
    "regression ranges 0-4, 4-8, … doubling",
    "no position codes",
    "released defaults of post-processing",
)
_ASSUMED = {
    "actionformer": ("4 attention heads", "attention over all positions", *_ALWAYS),
    "temporalmaxer": _ALWAYS,
    "tridet": _ALWAYS,
    "cltdr": _ALWAYS,
}


def _run_config(
    system: str,
    checkpoint: str | Path,
    decoder: PyramidConfig,
    suppression: dict[str, Any],
    dataset: Mapping[str, Any],
) -> RunConfig:
    length = decoder.max_positions
    tree: dict[str, Any] = {
        "description": f"{system} as released, converted from {Path(checkpoint).name}",
        "memory": {"ratio": 0.0},
        "window": {"num_rows": length},
        "localizer": {"decoder": decoder.model_dump(mode="json")},
        "inference": {
            "window_rows": length,
            "overlap": 0.5,
            "min_score": decoder.min_score,
            "max_candidates": decoder.topk_per_level * decoder.levels,
            "suppression": suppression,
        },
    }
    if dataset.get("force_upsampling"):
        tree["inference"]["resize_rows"] = length
    if dataset.get("default_fps"):
        tree["data"] = {"fps": float(dataset["default_fps"])}
    return parse_config(tree, str(checkpoint))


def _features(channels: int, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration says about the rows that the model was trained on."""
    facts: dict[str, Any] = {"channels": channels}
    if "feat_stride" in dataset:
        facts["frame_stride"] = int(dataset["feat_stride"]) * int(dataset.get("downsample_rate", 1))
    if "num_frames" in dataset:
        facts["window_frames"] = int(dataset["num_frames"])
    return facts


def _read_yaml(path: Path) -> dict[str, Any]:
    tree = read_yaml(path, ConfigError)
    if not isinstance(tree, dict) or "dataset" not in tree:
        raise CheckpointError(
            f"{path} is not a configuration of a released code base: it has no section `dataset`"
        )
    tree = _numbers(tree)
    if (stride := tree["dataset"].get("feat_stride", 1)) <= 0:
        raise CheckpointError(
            f"dataset.feat_stride {stride}: features of which each file has its own rate are not supported; "
            "give the stride in frames"
        )
    return tree


def _numbers(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for a text."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
