"""mAP and the false-positive profile, in the form that the page draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tal.annotations import AnnotationSet
from tal.metrics.protocols import DEFAULT_TIOU


@dataclass(frozen=True)
class Scores:
    """Fractions; ``per_class`` label -> AP at each tIoU; ``profile`` as the page draws it."""

    tiou: list[float]
    mAP: list[float]
    average_mAP: float
    per_class: dict[str, list[float]]
    profile: dict[str, Any] | None


# Kinds of the diagnosis -> classes of style.css.
_STYLES = {
    "true positive": "right-kind",
    "double detection": "double",
    "localization": "boundary",
    "wrong label": "label",
    "confusion": "confused",
    "background": "background",
}


def score(annotations: AnnotationSet, predictions: pd.DataFrame, tiou: Sequence[float] | None) -> Scores:
    """Evaluate; raises EvaluationError when nothing can be measured."""
    from tal.metrics import Evaluation

    evaluation = Evaluation(annotations, predictions, list(tiou or DEFAULT_TIOU))
    result = evaluation.result()
    return Scores(
        result.tiou, result.mAP, result.average_mAP, result.per_class, _profile(evaluation.diagnosis())
    )


def _profile(diagnosis: dict[str, Any]) -> dict[str, Any]:
    """DETAD's false positives: kinds among the k·G best, and the mAP that mending each kind would bring."""
    false_positives = diagnosis["false_positives"]
    rows = false_positives["profile"]
    return {
        "tiou": diagnosis["tiou"],
        "kinds": list(_STYLES),
        "styles": list(_STYLES.values()),
        "names": [row["top"] for row in rows],
        "rows": [[row[kind] for kind in _STYLES] for row in rows],
        "gains": sorted(false_positives["impact"].items(), key=lambda gain: -gain[1]),
    }
