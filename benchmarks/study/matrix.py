"""A matrix of trainings, one process each, one after another; finished ones are not run again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.study.row_precision import row_precision
from pipelines.config import RunConfig, save_resolved
from pipelines.data.run_annotations import read_run_annotations
from pipelines.shared.console import log
from pipelines.shared.run_folder import validation_predictions
from pipelines.train.run_log import read_log
from tal.annotations import AnnotationSet, read_predictions
from tal.annotations.clock import clock
from tal.errors import LongtalError
from tal.metrics import Comparison, Evaluation, evaluate, paired_bootstrap


class StudyError(LongtalError, RuntimeError):
    """A training of a study failed."""


@dataclass(frozen=True)
class Variant:
    """One row of a study's table: a name and the configuration that all its seeds share."""

    name: str
    config: RunConfig

    @property
    def folder(self) -> str:
        """The name as a folder's."""
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in self.name).strip("_")

    def run(self, out: Path, seed: int) -> Path:
        """The run folder of one seed in a study's folder."""
        return out / self.folder / f"seed_{seed}"


def trained_for(epochs: int) -> tuple[str, str]:
    """Settings of a run of so many epochs that is measured at its end alone."""
    return f"train.epochs={epochs}", f"train.validate_from={epochs}"


@dataclass(frozen=True)
class RunResult:
    """One training, measured on the validation subset at both moments that a user may choose.

    Attributes
    ----------
    last, best
        name of a set of tIoU thresholds -> mean mAP of the last, and of the best, weights.
    drift, age
        cosine of a fresh row to the stored one that it replaces, and mean age of rows in steps, in the last
        epoch that encoded; None where none did.
    rows
        `row_precision`; empty where the study does not ask for it.
    """

    variant: str
    seed: int
    last: dict[str, float]
    best: dict[str, float]
    last_step: int
    best_step: int
    hours: float
    peak_memory_mib: float
    parameters: int
    drift: float | None = None
    age: float | None = None
    rows: tuple[float, ...] = ()


# A name and the tIoU thresholds whose mean mAP it stands for.
Protocols = dict[str, tuple[float, ...]]


def run_matrix(
    variants: Sequence[Variant], seeds: Sequence[int], out: Path, protocols: Protocols, rows: bool = False
) -> Iterator[list[RunResult]]:
    """Train each variant with each seed in OUT/VARIANT/seed_N and measure it; seeds vary slowest.

    Yields the results so far after each run. A run that was interrupted goes on from its checkpoint; a
    finished one is only measured again.
    """
    todo = [(v, s) for s in seeds for v in variants]
    results: list[RunResult] = []
    start = time.perf_counter()
    for number, (variant, seed) in enumerate(todo):
        run = variant.run(out, seed)
        config = with_seed(variant.config, seed)
        log.info("run %d of %d: %s, seed %d (%s)", number + 1, len(todo), variant.name, seed, run)
        train_once(config, run)
        result = measure_run(run, variant.name, seed, config, protocols)
        results.append(replace(result, rows=tuple(row_precision(run, config))) if rows else result)
        log.info("%s, seed %d: %s", variant.name, seed, _short(results[-1]))
        log.info("study: %s passed", clock(time.perf_counter() - start))
        yield results


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})


def train_once(config: RunConfig, run: Path) -> None:
    """Train in a process of its own; an interrupted run goes on, a finished one is left as it is."""
    done = run / "study.json"
    if done.exists():
        return
    resume = (run / "config.yaml").exists()
    path = save_resolved(config, run.parent, f"{run.name}.yaml")
    command = [sys.executable, "-m", "cli", "train", "--config", str(path), "--out", str(run), "--json"]
    finished = subprocess.run(
        [*command, *(["--resume"] if resume else [])], stdout=subprocess.PIPE, text=True, check=False
    )
    if finished.returncode:
        raise StudyError(
            f"the training in {run} ended with code {finished.returncode}; its messages are above"
        )
    done.write_text(finished.stdout)


def measure_run(run: Path, variant: str, seed: int, config: RunConfig, protocols: Protocols) -> RunResult:
    """Read a finished run: mAP of its last and its best validation under each protocol, cost, size."""
    validations = read_log(run, "validation")
    last_step = validations[-1]["step"]
    best_step = max(validations, key=lambda r: (r["mAP"], -r["step"]))["step"]
    epochs = read_log(run, "epoch")
    truth = _ground_truth(config)

    def score(step: int) -> dict[str, float]:
        predictions = read_predictions(validation_predictions(run, step))
        return {name: evaluate(truth, predictions, tiou).average_mAP for name, tiou in protocols.items()}

    seconds = sum(r["seconds"] for r in epochs)
    encoded = next((r for r in reversed(epochs) if r.get("fresh_rows")), {})
    return RunResult(
        variant=variant,
        seed=seed,
        last=score(last_step),
        best=score(best_step),
        last_step=last_step,
        best_step=best_step,
        hours=seconds / 3600,
        peak_memory_mib=max(r["peak_memory_mib"] for r in epochs),
        parameters=json.loads((run / "study.json").read_text())["parameters"],
        drift=encoded.get("drift_cosine"),
        age=encoded.get("age_mean"),
    )


def _ground_truth(config: RunConfig) -> AnnotationSet:
    ground_truth = read_run_annotations(config.data, config.learns_one_class).validation
    assert ground_truth is not None, "studies compare validations"
    return ground_truth


def compare_variants(
    results: Sequence[RunResult], variants: Sequence[Variant], out: Path, tiou: Sequence[float]
) -> list[tuple[str, str, Comparison]]:
    """Each pair of variants by their last weights: paired bootstrap over videos and seeds.

    Only seeds that both have count. Returns (A, B, comparison of B with A).
    """
    config = variants[0].config
    truth = _ground_truth(config)
    if len(truth.videos) < 2:
        log.warning("a paired bootstrap draws among videos and there is one: the variants are not compared")
        return []
    by_name = {v.name: v for v in variants}
    runs: dict[str, dict[int, Evaluation]] = {}
    for r in results:
        run = by_name[r.variant].run(out, r.seed)
        predictions = read_predictions(validation_predictions(run, r.last_step))
        runs.setdefault(r.variant, {})[r.seed] = Evaluation(truth, predictions, list(tiou))
    compared = []
    for a, b in combinations(runs, 2):
        seeds = sorted(runs[a].keys() & runs[b].keys())
        if seeds:
            sides = [[runs[name][s] for s in seeds] for name in (a, b)]
            compared.append((a, b, paired_bootstrap(sides[0], sides[1])))
    return compared


def _short(result: RunResult) -> str:
    parts = [f"{name} {value:.3f}" for name, value in result.last.items()]
    return f"{', '.join(parts)} in {clock(result.hours * 3600)}"


def as_records(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    return [r.__dict__ for r in results]
