"""Names inside a run folder that more than one part of longtal goes by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Kinds of log.jsonl's records by the names that they had in older releases.
_RENAMED_KINDS = {"settle": "finetune_localizer"}


def step_name(step: int) -> str:
    """Name of what belongs to an optimizer step; sorts as the steps do."""
    return f"step_{step:08d}"


def validation_predictions(run: Path, step: int) -> Path:
    """Detections of the validation after a step."""
    return run / "validation" / f"{step_name(step)}_predictions.json"


def record_kind(record: Mapping[str, Any]) -> str:
    """What a record of log.jsonl is about, by today's name; one that does not say so is of a step."""
    kind = str(record.get("kind") or "step")
    return _RENAMED_KINDS.get(kind, kind)
