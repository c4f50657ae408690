"""Correct and train again, against anew: `python -m benchmarks.review_loop --out DIR`.

On the demo's videos: a third of the training videos has labels, a model trained on them finds actions in the
others, a script corrects what it found by the truth, and `train --from --corrections` goes on from that
model. Yardstick, same run: a training anew, from fresh weights and an empty store, on the same videos with
all labels. mAP is that of the held-out videos, on which only the thresholds are calibrated above which
detections are judged. Stages that are finished are not run again; one that was interrupted begins anew, so
that its seconds are all of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.study.matrix import trained_for
from pipelines.config import load_config, save_resolved
from pipelines.demo.options import DemoOptions
from pipelines.demo.run import PRESET
from pipelines.demo.synth import synthesize
from pipelines.shared.console import log
from pipelines.shared.files import write_text
from pipelines.shared.run_folder import validation_predictions
from pipelines.train.run_log import read_log
from tal.annotations import (
    AnnotationSet,
    Segment,
    VideoAnnotation,
    read_annotations,
    read_predictions,
    write_annotations,
)
from tal.annotations.corrections import Corrections, Judgement, VideoCorrections, write_corrections
from tal.annotations.detection import Detection
from tal.inference.thresholds import read_thresholds
from tal.metrics import Comparison, Evaluation, paired_bootstrap

LABELLED = 3  # one training video in so many has labels
# A detection is taken for an action from this tIoU on; an edge so near to the true one is left as it is.
_TIOU, _EDGE_S = 0.5, 0.1
TIOU = (0.3, 0.4, 0.5, 0.6, 0.7)


def corrected(video: VideoAnnotation, detections: Iterable[Detection]) -> VideoCorrections:
    """A video as somebody who never errs leaves it: each detection judged, what was missed added."""
    assert video.duration_s is not None
    missed, actions, rejected = list(video.segments), [], []
    for found in sorted(detections, key=lambda d: -d.score):
        as_found = Segment(found.start_s, found.end_s, found.label)
        true = max(missed, key=lambda s: (_tiou(s, as_found), s.label == found.label), default=None)
        if true is None or _tiou(true, as_found) < _TIOU:
            rejected.append(Judgement(as_found, score=found.score))
            continue
        missed.remove(true)
        edges = abs(true.start_s - found.start_s), abs(true.end_s - found.end_s)
        if true.label == found.label and max(edges) <= _EDGE_S:
            actions.append(Judgement(as_found, "accepted", found.score))
        else:
            actions.append(Judgement(true, "corrected", found.score, original=as_found))
    actions += [Judgement(segment, "added") for segment in missed]
    return VideoCorrections(
        video.id,
        "training",
        video.duration_s,
        video.fps,
        tuple(sorted(actions, key=lambda j: j.segment.start_s)),
        tuple(rejected),
        ((0.0, video.duration_s),),
    )


def _tiou(a: Segment, b: Segment) -> float:
    shared = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    return max(0.0, shared) / (max(a.end_s, b.end_s) - min(a.start_s, b.start_s))


@dataclass(frozen=True)
class Spent:
    """What a stage took: seconds by the clock, and of processors."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Options:
    """What is asked for: the folder, epochs of a training anew, how many videos are made, and whether the
    encoder "learns", as in the demo, or "rests": then nothing is encoded twice."""

    out: Path
    epochs: int
    videos: int
    encoder: str


class Loop:
    """The folder of one seed: its videos, who has labels, and the stages."""

    def __init__(self, how: Options, seed: int) -> None:
        self.how, self.seed = how, seed
        data = how.out / f"seed_{seed}" / "data"
        self.out = data.with_name(f"{how.encoder}_{how.epochs}")
        self.out.mkdir(parents=True, exist_ok=True)
        made = synthesize(data, DemoOptions(seed=seed, videos=how.videos).data)
        self.videos = data / "videos"
        whole = read_annotations(made.annotations)
        # no weights are chosen by what is measured, so both of the demo's other subsets are held out
        parts = {
            k: replace(v, subset="training" if v.subset == "training" else "validation")
            for k, v in whole.videos.items()
        }
        training = sorted(k for k, v in parts.items() if v.subset == "training")
        self.pool = [name for place, name in enumerate(training) if place % LABELLED]
        self.all = replace(whole, videos=parts)
        self.known = replace(whole, videos={k: v for k, v in parts.items() if k not in set(self.pool)})

    def stage(self, name: str, work: Callable[[Path], None]) -> Spent:
        """Do something that makes a folder, once."""
        folder, noted = self.out / name, self.out / f"{name}.json"
        if not noted.exists():
            shutil.rmtree(folder, ignore_errors=True)
            log.info("seed %d: %s", self.seed, name)
            before = time.perf_counter(), _processor_s()
            work(folder)
            spent = Spent(time.perf_counter() - before[0], _processor_s() - before[1])
            write_text(noted, json.dumps(asdict(spent)) + "\n", overwrite=True)
        return Spent(**json.loads(noted.read_text()))

    def train_on(self, name: str, annotations: AnnotationSet) -> Spent:
        """Train from fresh weights; the store, of its own, is extracted first."""
        path = self.out / f"{name}_annotations.json"
        write_annotations(annotations, path)
        sets = [
            f"data.annotations={path}",
            f"data.videos={self.videos}",
            f"data.store={self.out / name / 'features.zarr'}",
            f"train.seed={self.seed}",
            *trained_for(self.how.epochs),
        ]
        if self.how.encoder == "rests":
            sets.append("memory.ratio=0")
        config = load_config(PRESET, sets)
        written = save_resolved(config, self.out, f"{name}.yaml")
        return self.stage(
            name, lambda folder: longtal("train", "--config", written, "--out", folder, "--json")
        )

    def predict(self) -> Spent:
        """What the model with a third of the labels finds in the other videos."""
        words: list[str | Path] = [self.videos / f"{name}.mp4" for name in self.pool]
        words += ["--model", self.out / "before"]
        return self.stage("found", lambda folder: longtal("predict", *words, "--out", folder))

    def correct(self) -> Counter[str]:
        """Judge what was found; how often what was done."""
        found = read_predictions(self.out / "found" / "predictions.json")
        thresholds = read_thresholds(self.out / "before" / "model" / "thresholds.json")
        shown = found[found["score"] >= found["label"].astype(str).map(thresholds).fillna(float("inf"))]
        by_video: dict[str, list[Detection]] = {name: [] for name in self.pool}
        columns = (shown[name].tolist() for name in ("video_id", "start_s", "end_s", "label", "score"))
        for video, start, end, label, score in zip(*columns, strict=True):
            by_video[video].append(Detection(video, start, end, label, score))
        videos = {name: corrected(self.all.videos[name], by_video[name]) for name in self.pool}
        write_corrections(Corrections(self.all.labels, videos), self.out / "corrections.json")
        said = Counter(action.source for video in videos.values() for action in video.actions)
        said["rejected"] = sum(len(video.rejected) for video in videos.values())
        return said

    def train_again(self) -> Spent:
        """From the model with a third of the labels, with the corrections."""
        words: list[str | Path] = ["--from", self.out / "before"]
        words += ["--corrections", self.out / "corrections.json"]
        return self.stage("after", lambda folder: longtal("train", *words, "--out", folder, "--json"))

    def measured(self, name: str) -> Evaluation:
        """The last weights of a run on the held-out videos."""
        run = self.out / name
        path = validation_predictions(run, read_log(run, "validation")[-1]["step"])
        return Evaluation(self.all.subset("validation"), read_predictions(path), list(TIOU))


def longtal(*words: str | Path) -> None:
    """Run a command in a process of its own, which must succeed."""
    subprocess.run([sys.executable, "-m", "cli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def _processor_s() -> float:
    """Processor time of finished children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Result:
    """One seed: videos and corrections, seconds and mAP of each stage, and the two comparisons."""

    encoder: str
    epochs: int
    seed: int
    labelled: int
    corrected: int
    held_out: int
    said: dict[str, int]
    spent: dict[str, Spent]
    scores: dict[str, float]
    gain: Comparison  # after over before
    cost: Comparison  # after over anew

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "gain": self.gain.to_json(), "cost": self.cost.to_json()}

    def lines(self) -> Sequence[str]:
        """What is printed."""
        again, anew = self.spent["after"], self.spent["anew"]
        arms = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        said = ", ".join(f"{count} {what}" for what, count in sorted(self.said.items()))
        return [
            f"seed {self.seed}, encoder {self.encoder}: {self.labelled} videos with labels, "
            f"{self.corrected} corrected ({said}), {self.held_out} held out",
            f"  again {again.wall_s:.0f} s ({again.cpu_s:.0f} of processors), anew {anew.wall_s:.0f} s "
            f"({anew.cpu_s:.0f}): ratio {again.wall_s / anew.wall_s:.2f} ({again.cpu_s / anew.cpu_s:.2f})",
            f"  mAP {TIOU[0]}:{TIOU[-1]}: {arms}; after - before {_told(self.gain)}, "
            f"after - anew {_told(self.cost)}",
        ]


def _told(c: Comparison) -> str:
    return f"{c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}]"


def one_seed(how: Options, seed: int) -> Result:
    """The whole loop, and the training anew."""
    loop = Loop(how, seed)
    spent = {"before": loop.train_on("before", loop.known), "found": loop.predict()}
    said = loop.correct()
    spent |= {"after": loop.train_again(), "anew": loop.train_on("anew", loop.all)}
    measured = {name: loop.measured(name) for name in ("before", "after", "anew")}
    held_out = len(loop.all.subset("validation"))
    return Result(
        how.encoder,
        how.epochs,
        seed,
        len(loop.known) - held_out,
        len(loop.pool),
        held_out,
        dict(said),
        spent,
        {name: float(evaluation.ap.mean()) for name, evaluation in measured.items()},
        paired_bootstrap(measured["before"], measured["after"]),
        paired_bootstrap(measured["anew"], measured["after"]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of videos, stores and runs")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30, help="of the trainings anew; again has a third")
    parser.add_argument("--videos", type=int, default=DemoOptions().videos, help="how many are made")
    parser.add_argument(
        "--encoder", choices=("learns", "rests"), default="learns", help="rests: nothing is encoded twice"
    )
    arguments = parser.parse_args()
    how = Options(arguments.out, arguments.epochs, arguments.videos, arguments.encoder)
    results = []
    for seed in range(arguments.seeds):
        results.append(one_seed(how, seed))
        content = json.dumps([result.to_json() for result in results], indent=1) + "\n"
        write_text(how.out / f"review_loop_{how.encoder}.json", content, overwrite=True)
        print("\n".join(results[-1].lines()), flush=True)


if __name__ == "__main__":
    main()
