"""Score thresholds by class, as a model folder and `evaluate --calibrate` keep them: JSON {label: score}.

The second puts the table under the key ``thresholds``, beside the tIoU that it was made for; so does the
manifest of a folder of predictions. Neither torch nor a model is needed to read them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from featstore.documents import parse_json
from tal.errors import CheckpointError


def read_thresholds(path: Path) -> dict[str, float]:
    """Label -> score; empty where a model has none.

    Raises
    ------
    CheckpointError
        the file cannot be read or is something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return check_thresholds(parse_json(text, str(path), CheckpointError), path)


def check_thresholds(content: Any, path: Path) -> dict[str, float]:
    """`read_thresholds` of what a file holds."""
    table = thresholds_in(content)
    if table is None:
        raise CheckpointError(f"{path}: not a thresholds file: it must give a score for each class name")
    return table


def thresholds_in(content: Any) -> dict[str, float] | None:
    """The table in the content of a JSON file; None where there is no such table."""
    table = content.get("thresholds", content) if isinstance(content, dict) else None
    if not isinstance(table, dict) or not all(map(_is_score, table.values())):
        return None
    return {str(label): float(value) for label, value in table.items()}


def _is_score(value: Any) -> bool:
    """A number; infinity keeps a class out, NaN would let none or all of it through."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (abs(value) <= 1e9 or abs(value) == math.inf)
