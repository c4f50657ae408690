"""Which weights become RUN/model: the best on validation, or the last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.shared.files import write_text
from pipelines.shared.run_folder import step_name, validation_predictions
from pipelines.train.export import export_model
from pipelines.train.validate import Validation
from tal.annotations import AnnotationSet, write_predictions
from tal.inference.model_folder import link_model
from tal.memory.network import MemoryNetwork


@dataclass(frozen=True)
class ModelKeeper:
    """Writes RUN/validation/, the best models in RUN/models/ and RUN/model, as training goes on.

    Attributes
    ----------
    run
        the run's folder.
    config, labels, provenance, ground_truth
        what a model folder holds besides weights; its thresholds come from the ground truth, which is that
        of the validation videos.
    """

    run: Path
    config: RunConfig
    labels: Sequence[str]
    provenance: dict[str, Any]
    ground_truth: AnnotationSet | None

    def offer(
        self, network: MemoryNetwork, step: int, validation: Validation, best: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Note a validation; keep its weights if they are among the best (or the last are asked for).

        Parameters
        ----------
        network
            holds the weights that were validated, those after ``step`` optimizer steps.
        best
            earlier validations that are kept, {"step", "value"}, best first.

        Returns
        -------
        list of dict
            the same with this one in its place, at most ``train.keep_best`` of them.
        """
        self._note(validation, step)
        entries = [*best, {"step": step, "value": validation.result.average_mAP}]
        ranked = sorted(entries, key=lambda entry: (-entry["value"], entry["step"]))
        kept = ranked[: max(1, self.config.train.keep_best)]
        chosen = self.config.train.select == "last" or kept[0]["step"] == step
        if chosen or any(entry["step"] == step for entry in kept):
            models = self.run / "models"
            self._write(models / step_name(step), network, step, validation)
            if chosen:
                link_model(models / step_name(step), self.run / "model")
            names = {step_name(entry["step"]) for entry in kept}
            for old in models.glob("step_*"):
                if old.name not in names:
                    shutil.rmtree(old)
        return kept

    def write_last(self, network: MemoryNetwork, step: int) -> None:
        """Make these weights RUN/model; without validation the last ones are."""
        self._write(self.run / "model", network, step, None)

    def _note(self, validation: Validation, step: int) -> None:
        predictions = validation_predictions(self.run, step)
        predictions.parent.mkdir(exist_ok=True)
        result = predictions.with_name(f"{step_name(step)}.json")
        write_text(result, json.dumps(validation.result.to_json(), indent=1), overwrite=True)
        write_predictions(validation.predictions, predictions)

    def _write(self, folder: Path, network: MemoryNetwork, step: int, validation: Validation | None) -> None:
        provenance = self.provenance | {"step": step}
        if validation is not None:
            provenance["validation_mAP"] = validation.result.average_mAP
        export_model(folder, network, self.config, self.labels, provenance, validation, self.ground_truth)
