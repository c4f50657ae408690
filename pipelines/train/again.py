"""`longtal train --from RUN --corrections FILE`: a run's successor, which knows what a person said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from pipelines.config import RunConfig, nested, parse_config, parse_sets, save_resolved, with_settings
from pipelines.shared.console import log
from pipelines.train.checkpoint import list_checkpoints
from pipelines.train.run import saved_config
from tal.errors import ConfigError
from tal.inference.model_folder import ModelFolder, read_model
from tal.shared.files import put_in_place
from tal.shared.weights import contiguous

# Weights that have learnt need fewer epochs than random ones.
_SHARE = 3
_PREFIX = "encoder.model."


def config_of_successor(run: Path, corrections: str, sets: Sequence[str], out: Path) -> RunConfig:
    """The configuration of a run that starts from another one's weights and memory, with corrections.

    A third of its epochs, none of them for the localizer alone at the start; ``sets`` change that and
    anything else. Where the encoder learnt, its weights are written to ``out``, and its rows are to be
    extracted again: those in the run's memory are of many states of it.

    Raises
    ------
    ConfigError
        ``run`` holds no run, or its encoder has adapters, of which rows cannot be extracted.
    CheckpointError
        it has no model yet.
    """
    config, model = saved_config(run), read_model(run)
    epochs = max(1, round(config.train.epochs / _SHARE))
    last = min(config.memory.finetune_localizer_epochs, epochs - 1)
    changes: dict[str, object] = {
        "data.corrections": corrections,
        "train.start_from": str(model.path),
        "train.epochs": epochs,
        "train.validate_from": min(config.train.validate_from, epochs),
        "optim.warmup_epochs": min(config.optim.warmup_epochs, epochs / _SHARE),
        "memory.warmup_epochs": 0,
        "memory.finetune_localizer_epochs": last,
    }
    if config.end_to_end:
        changes |= _own_rows(config, model, out)
    given = dict(parse_sets(sets))
    if "train.epochs" not in given:
        log.info(
            "%d epochs, a third of %s's %d; --set train.epochs=N for others", epochs, run, config.train.epochs
        )
    tree = nested(changes, config.model_dump(mode="json"))
    successor = with_settings(parse_config(tree, str(run)), sets)
    if not list_checkpoints(
        out / "checkpoints"
    ):  # a run that has begun is refused, or gone on with, by `train`
        save_resolved(successor, out)
    return successor


def _own_rows(config: RunConfig, model: ModelFolder, out: Path) -> dict[str, object]:
    """The learnt encoder as a file, and a store of its own for its rows."""
    assert config.encoder is not None
    if config.encoder.adapter is not None:
        raise ConfigError(
            f"{model.path}: its encoder has adapters ({config.encoder.adapter.kind}), and rows of adapters "
            "that have learnt cannot be extracted: begin anew with --config and --set data.corrections=FILE"
        )
    tensors = {
        name.removeprefix(_PREFIX): value
        for name, value in model.weights().items()
        if name.startswith(_PREFIX)
    }
    weights = out / "encoder.safetensors"
    if not weights.exists():
        with put_in_place(weights) as beside:
            save_file(contiguous(tensors), beside)
    log.info(
        "the encoder of %s learnt: every video is encoded again with its last weights, into %s; the ledger "
        "begins anew",
        model.path,
        out / "features.zarr",
    )
    return {
        "encoder.weights": str(weights),
        "encoder.weights_sha256": None,
        "data.store": str(out / "features.zarr"),
    }
