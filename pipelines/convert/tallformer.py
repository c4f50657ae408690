"""A checkpoint of TALLFormer's released code becomes a model folder, with its encoder where it holds one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.config import RunConfig, load_config, nested, parse_config, portable_text
from pipelines.convert.conversion import Conversion
from pipelines.convert.labels import class_names
from pipelines.shared.dotted import leaves
from pipelines.shared.provenance import provenance
from tal.decoders.afsd import AFSDConfig
from tal.decoders.daotad import DaoTADConfig
from tal.encoders import Encoder, EncoderConfig, feature_spec
from tal.encoders.build import create_encoder
from tal.encoders.convert_swin import load_mmaction_swin, mmaction_swin_name
from tal.encoders.registry import find_family
from tal.errors import CheckpointError, ConfigError, WeightsError
from tal.inference.model_folder import write_model
from tal.localizer import Localizer
from tal.released import TALLFORMER, Sizes, infer_sizes, split_encoder, to_localizer
from tal.shared.weights import require_fit, state_sha256

# Where the released values stand that shapes do not tell.
_PRESETS = {"daotad": "tallformer/thumos14", "afsd": "tallformer/activitynet"}


def convert_tallformer(
    weights: Mapping[str, Tensor],
    checkpoint: str | Path,
    out: Path,
    config: str | Path | None,
    labels: Sequence[str] | None,
) -> Conversion:
    """Write the model folder ``out`` from the tensors of ``checkpoint``.

    Parameters
    ----------
    config
        preset or configuration that the checkpoint was trained with; its sizes must be the checkpoint's.
        None: the released preset of the checkpoint's decoder, with the sizes that the shapes tell.

    Raises
    ------
    CheckpointError
        lists what is missing, unexpected or of another shape, or the sizes that contradict ``config``.
    ConfigError
        the configuration cannot be read.
    """
    of_encoder, others = split_encoder(weights)
    state = to_localizer(others)
    sizes = infer_sizes(state)
    try:
        network = mmaction_swin_name(of_encoder, str(checkpoint)) if of_encoder else None
        run = _run_config(sizes, network, checkpoint, config)
        encoder = _encoder(run.encoder, of_encoder, sizes, checkpoint)
        parameters = _check_fit(run, sizes, state, checkpoint)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error
    names = class_names(labels, sizes.classes)
    exported = {f"localizer.{name}": value.float() for name, value in state.items()}
    made = provenance()
    if encoder is None:
        made["features"] = {"channels": sizes.channels}
    else:
        exported |= {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
        parameters += sum(p.numel() for p in encoder.parameters())
        made["features"] = feature_spec(
            encoder, run.data.fps, run.data.max_frames, reader=run.data.reader, precision=run.train.precision
        ).to_dict()
    made["converted"] = {
        "from": TALLFORMER,
        "checkpoint": Path(checkpoint).name,
        "config": config and str(config),
    }
    write_model(out, exported, portable_text(run), names, {}, made)
    assumed = tuple(_assumptions(run)) if config is None else ()
    decoder = run.localizer.decoder.name
    return Conversion(out, decoder, parameters, sizes.channels, sizes.classes, assumed)


def _run_config(
    sizes: Sizes, network: str | None, checkpoint: str | Path, config: str | Path | None
) -> RunConfig:
    """The configuration with the checkpoint's sizes, its window, and nothing of the data but their rate."""
    name = sizes.localizer["decoder"]["name"]
    if config is not None and Path(config).suffix == ".py":
        raise ConfigError(
            f"{config}: code is not run; name a preset, such as {_PRESETS[name]}, or a YAML configuration of "
            "longtal that extends one"
        )
    source = str(config) if config is not None else _PRESETS[name]
    base = load_config(source)
    if config is not None:
        _check_agreement(base, sizes, network, source)
    decoder = base.localizer.decoder
    if isinstance(decoder, AFSDConfig) and decoder.num_levels != sizes.levels:
        raise CheckpointError(
            f"localizer.decoder.regression_ranges: {decoder.num_levels} levels in {source}, {sizes.levels} "
            "in the checkpoint; give a configuration with the ranges that it was trained with"
        )
    # a table of positions means its own length only: longer windows would interpolate it
    downsample = sizes.localizer["downsample"]
    positions = sizes.positions or base.window.num_rows // base.localizer.downsample
    tree = base.model_dump(mode="json")
    settings = {
        "description": f"TALLFormer as released, converted from {Path(checkpoint).name}",
        "notes": {},
        "data": {"fps": base.data.fps, "max_frames": base.data.max_frames},
        "encoder.name": network,
        "encoder.weights": None,
        "encoder.weights_sha256": None,
        "window.num_rows": positions * downsample,
        "inference.window_rows": positions * downsample,
        "inference.row_offset": _row_offset(name, downsample),
        "inference.max_candidates": max(base.inference.max_candidates, _candidates(sizes, positions)),
        **dict(leaves(sizes.localizer, "localizer.")),
    }
    if name == "afsd" or sizes.localizer["decoder"].get("pyramid") == "conv":
        settings["localizer.decoder.release"] = True
    if network is None:
        settings = {key: value for key, value in settings.items() if not key.startswith("encoder.")}
        settings |= {"encoder": None, "memory.ratio": 0.0}
    return parse_config(nested(settings, tree), source)


def _candidates(sizes: Sizes, positions: int) -> int:
    """All candidates of a window, of which the release leaves out none before suppression."""
    anchors = sizes.localizer["decoder"].get("anchors_per_position", 1)
    return sum(-(-positions // 2**level) for level in range(sizes.levels)) * anchors * sizes.classes


def _row_offset(decoder: str, downsample: int) -> float:
    """Rows from a position's time here to its time in the release.

    Here position p is the middle of row p * downsample. The release's anchors have their centre where that
    row begins, AFSD's locations are the middle of the ``downsample`` rows that begin there.
    """
    return -0.5 if decoder == "daotad" else (downsample - 1) / 2


def _check_agreement(base: RunConfig, sizes: Sizes, network: str | None, source: str) -> None:
    """CheckpointError names every size of the configuration that is not the checkpoint's.

    The length of the window is not among them: on ActivityNet the release cuts the shift off its 400 rows
    before the consistency module sees them.
    """
    given = dict(leaves(base.model_dump(mode="json")))
    if sizes.localizer["decoder"]["name"] != base.localizer.decoder.name:
        wanted = {"localizer.decoder.name": sizes.localizer["decoder"]["name"]}
    else:
        wanted = dict(leaves(sizes.localizer, "localizer."))
        wanted.pop("localizer.tcm.max_positions", None)
    wanted["localizer.one_class"] = False
    problems = []
    for key, theirs in wanted.items():
        ours = given[key]
        if {ours, theirs} == {"batch", "sync_batch"}:  # the same tensors
            continue
        if ours != theirs:
            problems.append(f"{key}: {ours} in {source}, {theirs} in the checkpoint")
    if network is not None:
        named = find_family(base.encoder.name)[1] if base.encoder is not None else "none"
        if named != network:
            problems.append(f"encoder.name: {named} in {source}, {network} in the checkpoint")
        elif base.encoder is not None and base.encoder.adapter is not None:
            problems.append(
                f"encoder.adapter: {base.encoder.adapter.kind} in {source}, none in the checkpoint"
            )
    if problems:
        raise CheckpointError("; ".join(problems))


def _encoder(
    config: EncoderConfig | None, weights: Mapping[str, Tensor], sizes: Sizes, checkpoint: str | Path
) -> Encoder | None:
    """The encoder with the checkpoint's weights; None where it holds none."""
    if config is None:
        return None
    encoder = create_encoder(config)
    if encoder.channels != sizes.channels:
        raise CheckpointError(
            f"{checkpoint}: its encoder gives rows of {encoder.channels} channels, and what follows takes "
            f"{sizes.channels}"
        )
    assert isinstance(encoder.model, nn.Module)
    load_mmaction_swin(encoder.model, weights, str(checkpoint))
    encoder.weights_sha256 = state_sha256(encoder)
    return encoder


def _check_fit(run: RunConfig, sizes: Sizes, state: Mapping[str, Tensor], checkpoint: str | Path) -> int:
    """Number of the localizer's parameters; CheckpointError unless the state is its own, name by name.

    The localizer is made of shapes alone: those of a hostile file may ask for any memory.
    """
    try:
        with torch.device("meta"):
            localizer = Localizer(run.localizer, sizes.channels, sizes.classes, run.window.num_rows)
    except (RuntimeError, ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise CheckpointError(f"{checkpoint}: no localizer has its sizes ({error})") from error
    require_fit(localizer, state, str(checkpoint))
    return sum(p.numel() for p in localizer.parameters())


def _assumptions(run: RunConfig) -> Iterator[str]:
    """What the shapes did not tell."""
    decoder = run.localizer.decoder
    if isinstance(decoder, DaoTADConfig):
        if decoder.pyramid == "attention":
            widths = ", ".join(map(str, decoder.level_widths))
            yield f"{decoder.num_heads} attention heads that see {widths} positions"
        yield f"a shortest anchor of {decoder.anchor_scale:g} positions"
    if isinstance(decoder, AFSDConfig):
        yield f"{decoder.upsample} cells of the fine grid a position"
        if decoder.labels == "video":
            yield f"the {decoder.top_labels} best classes of a video for each segment"
    yield f"{run.data.fps:g} frames a second" + (
        f", at most {run.data.max_frames} a video" if run.data.max_frames else ""
    )
    if run.encoder is not None:
        encoder = run.encoder
        yield f"pictures of {encoder.crop} pixels in clips of {encoder.clip_frames} frames"
    yield "released defaults of post-processing"
