"""Names inside a run folder that more than one part of longtal uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Kinds of log.jsonl's records by the names that they had in older releases.
_RENAMED_KINDS = {"settle": "finetune_localizer"}


def step_name(step: int) -> str:
    """Name of files and folders that belong to an optimizer step; names sort as the steps do."""
    return f"step_{step:08d}"


def validation_predictions(run: Path, step: int) -> Path:
    """File of the detections of the validation after a step."""
    return run / "validation" / f"{step_name(step)}_predictions.json"


def record_kind(record: Mapping[str, Any]) -> str:
    """The kind of a record of log.jsonl, by its name of today; "step" for a record that does not name one."""
    kind = str(record.get("kind") or "step")
    return _RENAMED_KINDS.get(kind, kind)
