"""Which minutes to correct first: `python -m benchmarks.doubt --data data/hapt --out DIR`.

A model trained on a few labelled recordings finds actions in the others. A third of their minutes is then
corrected, by the truth, in the order of `longtal review --next` or in random order, and a model is trained
anew on all that is known; unreviewed time is not learnt from. Yardstick, same run: random order, and full
labels; for stretches by doubt are shorter, also stretches as long at random places. One training after
another; a finished one is not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.study.matrix import train_once
from benchmarks.study.studies import STRICT, import_hapt
from benchmarks.study.table import mean_sd
from pipelines.config import load_config
from pipelines.shared.console import log
from pipelines.shared.files import write_text
from pipelines.shared.run_folder import validation_predictions
from pipelines.train.run_log import read_log
from tal.annotations import (
    AnnotationSet,
    read_annotations,
    read_predictions,
    write_annotations,
)
from tal.annotations.corrections import Corrections, Judgement, Sample, VideoCorrections, write_corrections
from tal.annotations.spans import Span, subtract, total_s, union
from tal.inference.thresholds import read_thresholds
from tal.metrics import evaluate
from tal.review import Estimate, QueueOptions, estimate, next_items, record_samples
from tal.review.sampling import draws

LABELLED = 6  # recordings that have labels before the review
SHARE = 1 / 3  # of the minutes of the others
OPTIONS = QueueOptions(stretch_s=20.0)
# Half the channels of the preset, and the fastest decoder: a training of 20 epochs is 40 s of one core.
SETTINGS = (
    "localizer.decoder.name=temporalmaxer",
    "localizer.decoder.embed_dim=64",
    "localizer.decoder.head_dim=64",
)
# "placed": stretches as long as those by doubt, at random places
ARMS = ("before", "random", "placed", "doubt", "full")


@dataclass(frozen=True)
class Split:
    """One seed's recordings: those with labels, those to review, and those that mAP is measured on."""

    labelled: AnnotationSet
    pool: AnnotationSet
    validation: AnnotationSet

    @property
    def durations(self) -> dict[str, float]:
        """Seconds of each recording to review."""
        return {v.id: v.duration_s or v.last_end_s for v in self.pool.videos.values()}


def split(whole: AnnotationSet, seed: int) -> Split:
    """Choose the labelled recordings by chance."""
    ids = sorted(whole.subset("training").videos)
    chosen = set(np.random.default_rng(seed).permutation(ids)[:LABELLED].tolist())

    def part(keep: Iterable[str]) -> AnnotationSet:
        return replace(whole, videos={k: whole.videos[k] for k in keep})

    return Split(part(sorted(chosen)), part(k for k in ids if k not in chosen), whole.subset("validation"))


class Reviewer:
    """Somebody who never errs and stops when a share of the minutes is reviewed."""

    def __init__(self, parts: Split, labels: tuple[str, ...]) -> None:
        self._pool = parts.pool.videos
        self._labels = labels
        self._left_s = SHARE * sum(parts.durations.values())
        self._reviewed: dict[str, tuple[Span, ...]] = {}

    @property
    def done(self) -> bool:
        return self._left_s <= 0

    @property
    def minutes(self) -> float:
        """Reviewed so far."""
        return sum(map(total_s, self._reviewed.values())) / 60

    def is_new(self, video: str, span: Span) -> bool:
        """Whether no part of a stretch is reviewed."""
        return subtract(span, self._reviewed.get(video, ())) == [span]

    def look_at(self, video: str, span: Span) -> None:
        """Review what of a stretch is new; the last one is cut."""
        before = self._reviewed.get(video, ())
        for start, end in subtract(span, before):
            if not self.done:
                end = min(end, start + self._left_s)
                self._left_s -= end - start
                self._reviewed[video] = union([*self._reviewed.get(video, ()), (start, end)])

    def corrections(self, sampled: Mapping[str, tuple[Sample, ...]]) -> Corrections:
        """Every action that reaches into what was reviewed."""
        return Corrections(self._labels, {v: self._video(v, sampled.get(v, ())) for v in self._pool})

    def _video(self, name: str, sampled: tuple[Sample, ...]) -> VideoCorrections:
        video, reviewed = self._pool[name], self._reviewed.get(name, ())
        seen = [
            s for s in video.segments if subtract((s.start_s, s.end_s), reviewed) != [(s.start_s, s.end_s)]
        ]
        actions = tuple(Judgement(s, "corrected") for s in seen)
        return VideoCorrections(
            name, video.subset, video.duration_s, video.fps, actions, (), reviewed, sampled
        )


def at_random(parts: Split, labels: tuple[str, ...], seed: int) -> Corrections:
    """Review stretches in random order."""
    reviewer = Reviewer(parts, labels)
    for video, stretch in draws(parts.durations, OPTIONS.stretch_s, seed, {}):
        reviewer.look_at(video, (stretch.start_s, stretch.end_s))
    return reviewer.corrections({})


def elsewhere(parts: Split, labels: tuple[str, ...], other: Corrections, seed: int) -> Corrections:
    """Review stretches as long as another review's, at random places: what its choice alone is worth."""
    reviewer, rng = Reviewer(parts, labels), np.random.default_rng(seed)
    names, durations = zip(*parts.durations.items(), strict=True)
    spans = [span for video in other.videos.values() for span in video.reviewed]
    for length in sorted((end - start for start, end in spans), reverse=True):
        free = False
        while not free:
            at = rng.choice(len(names), p=np.array(durations) / sum(durations))
            start = rng.uniform(0, max(0.0, durations[at] - length))
            fits = start + length <= durations[at]
            free = fits and reviewer.is_new(names[at], (start, start + length))
        reviewer.look_at(names[at], (start, start + length))
    return reviewer.corrections({})


def by_doubt(
    parts: Split,
    labels: tuple[str, ...],
    predictions: pd.DataFrame,
    thresholds: Mapping[str, float],
    seed: int,
) -> Corrections:
    """Review what `next_items` says, twenty at a time."""
    reviewer = Reviewer(parts, labels)
    known = reviewer.corrections({})
    while not reviewer.done:
        queue = next_items(predictions, parts.durations, thresholds, known, (), 20, seed, OPTIONS)
        assert queue.items, "a third of the minutes is reviewed before all of them are"
        for item in queue.items:
            reviewer.look_at(item.video_id, (item.start_s, item.end_s))
        kept = record_samples(known, queue)
        known = reviewer.corrections({v: kept.videos[v].sampled for v in kept.videos})
    return known


class Study:
    """The folder of a study, its data, and how long each training lasts."""

    def __init__(self, data: Path, out: Path, epochs: int) -> None:
        self.out, self.store = out, out / "features.zarr"
        self.whole = read_annotations(data / "annotations.json")
        self.epochs = epochs
        out.mkdir(parents=True, exist_ok=True)
        if not self.store.exists():
            import_hapt(data, self.store)

    def run(self, arm: str, seed: int) -> Path:
        return self.out / f"seed_{seed}" / arm

    def train(self, arm: str, seed: int, known: AnnotationSet, corrections: Corrections | None) -> float:
        """Train on ``known``, and ``corrections`` over it; mAP of the validation at the end."""
        folder = self.run(arm, seed)
        folder.parent.mkdir(parents=True, exist_ok=True)
        annotations = folder.parent / f"{arm}.json"
        write_annotations(known, annotations)
        sets = [
            f"data.annotations={annotations}",
            f"data.store={self.store}",
            f"train.seed={seed}",
            *SETTINGS,
        ]
        if corrections is not None:
            path = folder.parent / f"{arm}_corrections.json"
            write_corrections(corrections, path)
            sets.append(f"data.corrections={path}")
        # as many steps as the others, from fewer recordings
        epochs = self.epochs if arm != "before" else round(self.epochs * 11 / -(-LABELLED // 4))
        config = load_config("hapt", [*sets, f"train.epochs={epochs}", f"train.validate_from={epochs}"])
        log.info("seed %d: %s, %d epochs", seed, arm, epochs)
        train_once(config, folder)
        return self.measure(folder)

    def measure(self, run: Path) -> float:
        step = read_log(run, "validation")[-1]["step"]
        found = read_predictions(validation_predictions(run, step))
        return evaluate(self.whole.subset("validation"), found, STRICT[1]).average_mAP

    def found(self, seed: int, ids: Iterable[str]) -> Path:
        """Predictions of the model "before" in the recordings to review."""
        out = self.run("found", seed)
        command = ["predict", *ids, "--from-store", str(self.store), "--model", str(self.run("before", seed))]
        if not (out / "predictions.json").exists():
            shutil.rmtree(out, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "cli", *command, "--out", str(out)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        return out / "predictions.json"


@dataclass(frozen=True)
class Result:
    """mAP of each arm with one seed; what the random stretches say of "before", and what is so."""

    seed: int
    scores: dict[str, float]
    estimate: Estimate
    truth: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "mAP": self.scores,
            "estimate": self.estimate.to_json(),
            "truth": self.truth.to_json(),
        }


def one_seed(study: Study, seed: int) -> Result:
    """Train before, review in both orders, train after each, and with all labels."""
    parts, labels = split(study.whole, seed), study.whole.labels
    both = {**parts.labelled.videos, **parts.validation.videos}
    known = replace(study.whole, videos=both)
    scores = {"before": study.train("before", seed, known, None)}
    predictions = read_predictions(study.found(seed, parts.durations))
    thresholds = read_thresholds(study.run("before", seed) / "model" / "thresholds.json")
    reviews = {
        "random": at_random(parts, labels, seed + 1000),
        "doubt": by_doubt(parts, labels, predictions, thresholds, seed),
    }
    reviews["placed"] = elsewhere(parts, labels, reviews["doubt"], seed + 2000)
    for arm, corrections in reviews.items():
        scores[arm] = study.train(arm, seed, known, corrections)
    full = replace(study.whole, videos={**both, **parts.pool.videos})
    scores["full"] = study.train("full", seed, full, None)
    everything = {
        v.id: VideoCorrections(
            v.id,
            actions=tuple(Judgement(s, "added") for s in v.segments),
            reviewed=((0.0, parts.durations[v.id]),),
            sampled=(Sample(0.0, parts.durations[v.id], 1.0),),
        )
        for v in parts.pool.videos.values()
    }
    measured, truth = (
        estimate(predictions, parts.durations, thresholds, c)
        for c in (reviews["doubt"], Corrections(labels, everything))
    )
    return Result(seed, scores, measured, truth)


def lines(results: Sequence[Result]) -> Iterator[str]:
    """What is printed."""
    for arm in ARMS:
        values = [r.scores[arm] for r in results]
        mean, sd = mean_sd(values)
        each = ", ".join(f"{v:.3f}" for v in values)
        yield f"{arm:7s} mAP {STRICT[0]} {mean:.3f} ± {sd:.3f}  ({each})"
    gains = {arm: [r.scores[arm] - r.scores["before"] for r in results] for arm in ARMS}
    shares = {
        arm: mean_sd(gains[arm])[0] / mean_sd(gains["full"])[0] for arm in ("random", "placed", "doubt")
    }
    yield (
        f"of the way from before to full labels: doubt {shares['doubt']:.2f}, random {shares['random']:.2f}, "
        f"ratio {shares['doubt'] / shares['random']:.2f}; as long at random places {shares['placed']:.2f}"
    )
    for other in ("random", "placed"):
        mean, sd = mean_sd([r.scores["doubt"] - r.scores[other] for r in results])
        yield f"doubt - {other} {mean:+.3f} ± {sd:.3f}, standard error {sd / len(results) ** 0.5:.3f}"
    for r in results:
        seen, whole = r.estimate, r.truth
        yield (
            f"seed {r.seed}: {seen.reviewed_s / 60:.0f} of {seen.total_s / 60:.0f} minutes reviewed; "
            + "; ".join(
                f"{name} {part.value:.2f} [{part.low:.2f}, {part.high:.2f}], in truth {true.value:.2f}"
                for name, part, true in (
                    ("precision", seen.precision, whole.precision),
                    ("recall", seen.recall, whole.recall),
                )
                if part is not None and true is not None
            )
            + f"; among reviewed, precision {seen.among_reviewed or 0:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of hapt: annotations.json, features/"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30, help="of each training; the preset has 40")
    arguments = parser.parse_args()
    study = Study(arguments.data, arguments.out, arguments.epochs)
    results: list[Result] = []
    for seed in range(arguments.seeds):
        results.append(one_seed(study, seed))
        write_text(
            arguments.out / "doubt.json",
            json.dumps([r.to_json() for r in results], indent=1) + "\n",
            overwrite=True,
        )
        print("\n".join(lines(results)), flush=True)


if __name__ == "__main__":
    main()
