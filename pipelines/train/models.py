"""Which weights become RUN/model: the best on validation, or the last."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shared.console import log
from pipelines.shared.files import write_text
from pipelines.shared.run_folder import step_name, validation_predictions
from pipelines.train.export import link_model, write_model
from pipelines.train.validate import Validation
from tal.annotations import AnnotationSet, write_predictions

if TYPE_CHECKING:
    from pipelines.train.loop import Trainer


@dataclass
class ModelKeeper:
    """Writes RUN/validation/, the best models in RUN/models/ and RUN/model, as training goes on."""

    labels: Sequence[str]
    provenance: dict[str, Any]
    truth: AnnotationSet | None

    def offer(self, trainer: Trainer, validation: Validation) -> None:
        """Note a validation; keep its weights if they are among the best (or the last are asked for)."""
        step, value = trainer.state.step, validation.result.average_mAP
        name = step_name(step)
        self._note(trainer, validation, step)
        keep = max(1, trainer.config.train.keep_best)
        ranked = sorted(
            [*trainer.state.best, {"step": step, "value": value}], key=lambda e: (-e["value"], e["step"])
        )
        best = ranked[:keep]
        trainer.state.best = best
        chosen = trainer.config.train.select == "last" or best[0]["step"] == step
        if any(entry["step"] == step for entry in best) or chosen:
            models = trainer.out / "models"
            self._write(trainer, models / name, validation)
            if chosen:
                link_model(models / name, trainer.out / "model")
            wanted = {step_name(e["step"]) for e in best}
            for old in models.glob("step_*"):
                if old.name not in wanted:
                    shutil.rmtree(old)

    def finish(self, trainer: Trainer) -> None:
        """Without validation the last weights are the model."""
        if trainer.validator is None and trainer.accelerator.is_main_process:
            with trainer.averaged():
                self._write(trainer, trainer.out / "model", None)
        elif trainer.state.best and trainer.config.train.select == "best":
            best = trainer.state.best[0]
            log.info("best validation mAP %.4f at step %d", best["value"], best["step"])

    def _note(self, trainer: Trainer, validation: Validation, step: int) -> None:
        import json

        predictions = validation_predictions(trainer.out, step)
        predictions.parent.mkdir(exist_ok=True)
        result = predictions.with_name(f"{step_name(step)}.json")
        write_text(result, json.dumps(validation.result.to_json(), indent=1), overwrite=True)
        write_predictions(validation.predictions, predictions)

    def _write(self, trainer: Trainer, folder: Path, validation: Validation | None) -> None:
        provenance = self.provenance | {"step": trainer.state.step}
        if validation is not None:
            provenance["validation_mAP"] = validation.result.average_mAP
        write_model(folder, trainer.network, trainer.config, self.labels, provenance, validation, self.truth)
