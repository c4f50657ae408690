"""Names inside a run folder that more than one part of longtal goes by."""

from __future__ import annotations

from pathlib import Path


def step_name(step: int) -> str:
    """Name of what belongs to an optimizer step; sorts as the steps do."""
    return f"step_{step:08d}"


def validation_predictions(run: Path, step: int) -> Path:
    """Detections of the validation after a step."""
    return run / "validation" / f"{step_name(step)}_predictions.json"
