"""Names inside a run folder that more than one part of longtal uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.shared.config_paths import with_located_paths

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
    before = None
    try:
        facts = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
        before = Path(facts["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a run of version 0.1 does not say it
    return with_located_paths(tree, run, str(run / "config.yaml"), before)


def record_kind(record: Mapping[str, Any]) -> str:
    """The kind of a record of log.jsonl, by its name of today; "step" for a record that does not name one."""
    kind = str(record.get("kind") or "step")
    return _RENAMED_KINDS.get(kind, kind)
