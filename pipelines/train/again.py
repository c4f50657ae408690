"""`longtal train --from RUN --corrections FILE`: a run's successor, which knows what a person said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from pipelines.config import RunConfig, nested, parse_config, parse_sets, save_resolved, with_settings
from pipelines.shared.config_paths import same_path
from pipelines.shared.console import log
from pipelines.train.run import require_new, saved_config
from pipelines.train.stores import uses_store
from tal.annotations.corrections import Corrections, read_corrections, write_corrections
from tal.annotations.ids import match_ids
from tal.errors import ConfigError
from tal.inference.model_encoder import build_model_encoder
from tal.inference.model_folder import ModelFolder, find_model, read_model
from tal.shared.files import put_in_place
from tal.shared.weights import contiguous, read_state, tensors_sha256

# Weights that have learnt need fewer epochs than random ones.
_SHARE = 3
_CORRECTIONS = "corrections.json"


def config_of_successor(run: Path, corrections: str, sets: Sequence[str], out: Path) -> RunConfig:
    """The configuration of a run that starts from another one's weights and memory, with corrections.

    A third of its epochs, none of them for the localizer alone at the start; ``sets`` change that and
    anything else. Where the encoder learnt, or its adapters did, these weights are written to ``out``, and
    its rows are to be extracted again: those in the run's memory are of many states of it.

    Raises
    ------
    ConfigError
        ``run`` holds no run, ``out`` holds one, or rows of another.
    CheckpointError
        ``run`` has no model yet, or the weights below its adapters are not there.
    """
    require_new(out)
    config, model = saved_config(run), read_model(run)
    epochs = max(1, round(config.train.epochs / _SHARE))
    last = min(config.memory.finetune_localizer_epochs, epochs - 1)
    changes: dict[str, object] = {
        "data.corrections": with_earlier_corrections(config, Path(corrections), out),
        "train.start_from": str(model.path),
        "train.epochs": epochs,
        "train.validate_from": min(config.train.validate_from, epochs),
        "optim.warmup_epochs": min(config.optim.warmup_epochs, epochs / _SHARE),
        "memory.warmup_epochs": 0,
        "memory.finetune_localizer_epochs": last,
    }
    if config.end_to_end:
        changes |= _as_learnt(config, model, out)
    given = dict(parse_sets(sets))
    if "train.epochs" not in given:
        log.info(
            "%d epochs, a third of %s's %d; --set train.epochs=N for others", epochs, run, config.train.epochs
        )
    tree = nested(changes, config.model_dump(mode="json"))
    successor = with_settings(parse_config(tree, str(run)), sets)
    if config.end_to_end and successor.data.store == changes.get("data.store"):
        assert config.encoder is not None
        log.info(
            "the encoder of %s learnt: every video is encoded again with its last %s, into %s; the ledger "
            "begins anew",
            model.path,
            "weights" if config.encoder.adapter is None else "adapters",
            successor.data.store,
        )
    save_resolved(successor, out)
    return successor


def with_earlier_corrections(config: RunConfig, corrections: Path, out: Path) -> str:
    """The corrections, with those that the run learnt from of videos of which the new ones say nothing.

    Its weights know these videos: nothing is to be measured on them.
    """
    earlier = config.data.corrections
    if not earlier or same_path(Path(earlier), corrections):
        return str(corrections)
    before, now = read_corrections(earlier), read_corrections(corrections)
    spoken = {name: video for name, video in now.videos.items() if video.says_something}
    again = match_ids(before.videos, spoken).pairs
    kept = {k: v for k, v in before.videos.items() if v.says_something and k not in again}
    if not kept:
        return str(corrections)
    labels = tuple(dict.fromkeys([*before.labels, *now.labels]))
    write_corrections(Corrections(labels, {**spoken, **kept}), out / _CORRECTIONS)
    log.info(
        "the run learnt from corrections of %d videos of which %s says nothing: they hold on (%s)",
        len(kept),
        corrections,
        out / _CORRECTIONS,
    )
    return str(out / _CORRECTIONS)


def require_successor(config: RunConfig, run: Path, corrections: str, out: Path) -> None:
    """Hold that the run in ``out``, which is to go on, was begun from ``run`` with these corrections.

    Raises
    ------
    ConfigError
        it was begun otherwise.
    """
    begun_from = config.train.start_from
    same = begun_from and same_path(Path(begun_from), find_model(run))
    with_earlier = same_path(Path(config.data.corrections), out / _CORRECTIONS)
    if not same or not (with_earlier or same_path(Path(config.data.corrections), Path(corrections))):
        raise ConfigError(
            f"{out} was begun from {begun_from or 'random weights'} with "
            f"{config.data.corrections or 'no corrections'}: `longtal train --resume --out {out}` goes on "
            "with it; what you named needs another --out"
        )


def _as_learnt(config: RunConfig, model: ModelFolder, out: Path) -> dict[str, object]:
    """What the encoder learnt as a file, and a store of its own for its rows.

    Of adapters the model has what was trained; the weights below are those that it names.
    """
    assert config.encoder is not None
    weights = model.weights()
    if config.encoder.adapter is None:
        file = out / "encoder.safetensors"
        learnt = _without_prefix(weights, "encoder.model.")
        changes: dict[str, object] = {"encoder.weights": str(file)}
    else:
        file = out / "adapters.safetensors"
        learnt = _without_prefix(weights, "encoder.")
        below = build_model_encoder(model, weights).config.weights
        changes = {"encoder.adapter_weights": str(file)}
        if below != config.encoder.weights and model.trunk is not None:
            changes["encoder.weights"] = below
    if "encoder.weights" in changes:
        changes["encoder.weights_sha256"] = None
    _write(learnt, file, out / "features.zarr")
    if uses_store(config):
        changes["data.store"] = str(out / "features.zarr")
    return changes


def _without_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _write(learnt: dict[str, Tensor], file: Path, rows: Path) -> None:
    """Write weights where they are not yet; an attempt that never began may have left others, and rows."""
    if file.exists() and tensors_sha256(read_state(file)) == tensors_sha256(learnt):
        return
    if rows.exists():
        raise ConfigError(
            f"{rows} holds rows of another encoder than this one, from an earlier attempt: remove "
            f"{rows.parent}, or give another --out"
        )
    with put_in_place(file) as beside:
        save_file(contiguous(learnt), beside)
