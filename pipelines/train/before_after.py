"""What corrections gained: a run and its successor on the held-out videos of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.data.run_annotations import RunAnnotations
from pipelines.shared.run_folder import validation_predictions
from tal.annotations import read_predictions
from tal.annotations.ids import align_ids
from tal.inference.model_folder import read_model
from tal.metrics import Comparison, Evaluation, paired_bootstrap


@dataclass(frozen=True)
class BeforeAfter:
    """Mean average precision of a run and of its successor, and their difference.

    Attributes
    ----------
    videos
        number of held-out videos, none of which was corrected.
    comparison
        None where there are too few of them to compare.
    """

    videos: int
    before: float
    after: float
    comparison: Comparison | None

    def to_json(self) -> dict[str, Any]:
        facts = {"videos": self.videos, "before_mAP": self.before, "after_mAP": self.after}
        return facts | {"comparison": None if self.comparison is None else self.comparison.to_json()}

    def __str__(self) -> str:
        text = f"on {self.videos} held-out videos: mAP {self.before:.3f} before, {self.after:.3f} after"
        if (c := self.comparison) is None:
            return f"{text}; too few videos for an interval"
        told = "" if c.low > 0 or c.high < 0 else ": these videos do not tell them apart"
        return f"{text}; difference {c.difference:+.3f} ({c.low:+.3f} … {c.high:+.3f} of 95 %){told}"


def before_after(config: RunConfig, annotations: RunAnnotations, out: Path) -> BeforeAfter | None:
    """The model that a run started from, and its own, on the validation videos of its annotations.

    None where one of them is not a run's, or was never validated.
    """
    ground_truth = annotations.validation
    if not config.train.start_from or ground_truth is None:
        return None
    ground_truth = replace(ground_truth, labels=tuple(ground_truth.used_labels))
    evaluations = []
    for source in (config.train.start_from, out):
        model = read_model(source)
        step = model.provenance.get("step")
        path = validation_predictions(model.path.parent, step) if isinstance(step, int) else None
        if path is None or not path.is_file():
            return None
        found, _ = align_ids(read_predictions(path), ground_truth.videos)
        held_out = found[found["video_id"].isin(ground_truth.videos.keys())]
        evaluations.append(Evaluation(ground_truth, held_out, list(config.train.val_tiou)))
    before, after = evaluations
    comparison = paired_bootstrap(before, after) if len(ground_truth.videos) > 1 else None
    return BeforeAfter(len(ground_truth.videos), float(before.ap.mean()), float(after.ap.mean()), comparison)
