"""Names inside a run folder that more than one part of longtal uses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from featstore.documents import read_json
from pipelines.shared.config_paths import with_located_paths
from tal.errors import CheckpointError

# Kinds of log.jsonl's records by the names that they had in older releases.
_RENAMED_KINDS = {"settle": "finetune_localizer"}


def step_name(step: int) -> str:
    """Name of files and folders that belong to an optimizer step; names sort as the steps do."""
    return f"step_{step:08d}"


def validation_predictions(run: Path, step: int) -> Path:
    """File of the detections of the validation after a step."""
    return run / "validation" / f"{step_name(step)}_predictions.json"


def located(tree: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """The content of RUN/config.yaml with its paths as they are from here.

    They are relative to the run's folder. What did not move along with a run that moved is looked for where
    it was from the run's first folder, which provenance.json names.
    """
    try:
        before = Path(read_json(run / "provenance.json", CheckpointError)["folder"])
    except (CheckpointError, KeyError, TypeError):
        before = None  # a run of version 0.1 does not say it
    return with_located_paths(tree, run, str(run / "config.yaml"), before)


def parse_records(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Lines of log.jsonl, each with its record; None for a damaged one, as a killed run's last may be."""
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        step = record.get("step") if isinstance(record, dict) else None
        whole = isinstance(step, int) and not isinstance(step, bool) and abs(step) < 1 << 53
        yield line, record if whole else None


def record_kind(record: Mapping[str, Any]) -> str:
    """The kind of a record of log.jsonl, by its name of today; "step" for a record that does not name one."""
    kind = str(record.get("kind") or "step")
    return _RENAMED_KINDS.get(kind, kind)
