"""The demo: synthetic videos, then every stage of a user's work, with the same pipelines.

OUT/ data/ (videos, annotations) · features.zarr (the extraction) · run/ (training, its memory, the model) ·
test/ (detections of the held-out videos) · new/ (a video of a new person, and its detections) ·
annotations.json, predictions.json, evaluation.json · staleness_before.csv, staleness_after.csv ·
timeline.png · summary.json. Called again it goes on where it stopped and reuses finished stages.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from featstore.documents import read_json
from pipelines.demo.synth import SynthConfig, shuffle_labels, synthesize
from pipelines.shared import console
from pipelines.shared.files import OutputExistsError, write_text
from tal.annotations import read_annotations, write_annotations
from tal.metrics.protocols import DEFAULT_TIOU

if TYPE_CHECKING:
    from pipelines.config import RunConfig
    from tal.inference.detector import Detector

PRESET = "demo"
# The new video's seed lies far from the data set's: another person, another room.
_NEW_SEED = 1_000_003
_MOST_FALSE = 8


@dataclass(frozen=True)
class DemoOptions:
    """Settings that decide a demo's result. ``sets`` change the preset: ``("train.epochs=2",)``.

    ``shuffled_labels`` is a control, in which the labels of the training segments are permuted: mAP must
    fall to chance.
    """

    seed: int = 0
    videos: int = 96
    test_share: float = 0.4  # many held-out segments, so that chance is low and mAP is steady
    seconds: float = 24.0
    videos_per_person: int = 1
    size: int = 128
    fps: float = 15.0
    new_seconds: float = 30.0
    sets: tuple[str, ...] = ()
    shuffled_labels: bool = False

    @property
    def data(self) -> SynthConfig:
        return SynthConfig(
            videos=self.videos,
            seconds=self.seconds,
            size=self.size,
            fps=self.fps,
            seed=self.seed,
            videos_per_person=self.videos_per_person,
            test_share=self.test_share,
        )

    @property
    def new(self) -> SynthConfig:
        return self.data.model_copy(
            update={"videos": 1, "seconds": self.new_seconds, "seed": self.seed + _NEW_SEED}
        )


def run_demo(out: str | Path, options: DemoOptions = DemoOptions()) -> dict[str, Any]:
    """Run the stages that are not finished yet; returns the summary, which ``out/summary.json`` holds too.

    Raises
    ------
    OutputExistsError
        ``out`` holds a demo made with other options, or something else.
    """
    return _Demo(Path(out), options).run()


class _Demo:
    """The stages in order; ``state`` is the content of demo.json."""

    def __init__(self, out: Path, options: DemoOptions) -> None:
        self.out, self.options = out, options
        self.state: dict[str, Any] = {
            "options": json.loads(json.dumps(asdict(options))),
            "done": {},
            "seconds": {},
        }
        self.reused: list[str] = []
        self._claim()

    def run(self) -> dict[str, Any]:
        stages: tuple[tuple[str, str, Callable[[], dict[str, Any]], Callable[[], bool]], ...] = (
            ("synth", "Make videos of people doing things", self.synth, self._has("annotations.json")),
            ("extract", "Encode them into the store", self.extract, self._has("features.zarr")),
            ("train", "Train end to end through the memory", self.train, self._has("run/model")),
            ("evaluate", "Measure on people never seen", self.evaluate, self._has("evaluation.json")),
            ("predict", "Look at a new video", self.predict, self._has("timeline.png")),
        )  # fmt: skip
        for number, (name, title, work, stands) in enumerate(stages, 1):
            console.out.rule(f"{number} of {len(stages)} · {title}", style="dim")
            if name in self.state["done"] and stands():
                self.reused.append(name)
                console.out.print(f"finished already ({self.state['seconds'][name]:.0f} s): reused")
            else:
                with self._timed(name):
                    self.state["done"][name] = work()
                self._save()
            self._show(name)
        return self._finish()

    # -- stages --

    def synth(self) -> dict[str, Any]:
        data = self.options.data
        with console.progress("videos") as bar:
            task = bar.add_task("drawing", total=data.videos + 1)
            report = synthesize(self.out / "data", data, on_video=lambda _: bar.advance(task))
            synthesize(self.out / "new" / "data", self.options.new, processes=1)
            bar.update(task, completed=data.videos + 1)
        if self.options.shuffled_labels:
            truth = shuffle_labels(read_annotations(report.annotations), "training", self.options.seed)
            write_annotations(truth, self.out / "annotations.json")
        else:
            shutil.copyfile(report.annotations, self.out / "annotations.json")
        return {"videos": report.subsets, "segments": report.segments, "video_s": report.seconds}

    def extract(self) -> dict[str, Any]:
        from pipelines.extract import extract

        report = extract(self.config())
        self._write_staleness("features.zarr", "staleness_before.csv")
        return {"videos": len(report.done) + len(report.kept), "failed": report.failed}

    def train(self) -> dict[str, Any]:
        from pipelines.train import train

        result = train(self.config(), self.out / "run", resume=True, command=sys.argv)
        memory = self._write_staleness("run/memory.zarr", "staleness_after.csv")
        return {
            "steps": result.step,
            "parameters": result.num_parameters,
            "validation_mAP": result.best,
            **memory,
        }

    def evaluate(self) -> dict[str, Any]:
        from pipelines.data.videos import pair_with_files
        from pipelines.evaluate.run import EvaluateOptions, evaluate_files, write_json
        from pipelines.predict.run import predict

        truth = read_annotations(self.out / "annotations.json").subset("test")
        videos = pair_with_files(self.out / "data" / "videos", truth).by_annotation
        report = predict_with_progress(self.detector(), videos, self.out / "test", predict)
        shutil.copyfile(self.out / "test" / "predictions.json", self.out / "predictions.json")
        evaluated = evaluate_files(
            EvaluateOptions(
                annotations=self.out / "annotations.json",
                predictions=(self.out / "predictions.json",),
                subset="test",
                tiou=DEFAULT_TIOU,
                thresholds_file=self.out / "run" / "model" / "thresholds.json",
            )
        )
        write_json(evaluated, self.out / "evaluation.json")
        result = evaluated.report
        return {
            "mAP": dict(zip((f"{t:g}" for t in result["tiou"]), result["mAP"], strict=True)),
            "average_mAP": result["average_mAP"],
            "videos": len(videos),
            "instances": truth.num_instances,
            "failed": report.failed,
        }

    def predict(self) -> dict[str, Any]:
        from pipelines.plot.run import write_timeline
        from pipelines.predict.run import predict
        from tal.metrics.judge import judge

        truth = read_annotations(self.out / "new" / "data" / "annotations.json")
        ((name, annotation),) = truth.videos.items()
        path = self.out / "new" / "data" / "videos" / f"{name}.mp4"
        report = predict_with_progress(self.detector(), {name: path}, self.out / "new" / "found", predict)
        confident = report.confident
        write_timeline(
            self.out / "timeline.png",
            confident,
            annotation.segments,
            annotation.duration_s,
            title=f"a new video ({path.name}): ground truth and detections",
            overwrite=True,
        )
        rows = [
            {
                "found": str(d["label"]),
                "start_s": d["start_s"],
                "end_s": d["end_s"],
                "score": d["score"],
                "right": d["right"],
            }
            for d in judge(confident, annotation.segments, 0.5).to_dict("records")
        ]
        return {
            "video": str(path.relative_to(self.out)),
            "truth": [
                {"label": s.label, "start_s": s.start_s, "end_s": s.end_s} for s in annotation.segments
            ],
            "found": rows,
        }

    # -- shared by the stages --

    def config(self) -> RunConfig:
        """The preset, on this demo's files."""
        from pipelines.config import load_config

        return load_config(
            PRESET,
            [
                f"data.annotations={self.out / 'annotations.json'}",
                f"data.videos={self.out / 'data' / 'videos'}",
                f"data.store={self.out / 'features.zarr'}",
                f"train.seed={self.options.seed}",
                *self.options.sets,
            ],
        )

    def detector(self) -> Detector:
        from tal.inference.detector import Detector

        return Detector.load(self.out / "run")

    def _write_staleness(self, store: str, table: str) -> dict[str, Any]:
        """Write the table by video; returns counts of refreshed rows and writes, and the generation."""
        from featstore import FeatureStore

        with FeatureStore.open(self.out / store) as opened:
            by_row = opened.staleness(by="row")
            by_video = opened.staleness(by="video")
            generation = opened.generation
        by_video.to_csv(self.out / table, index=False)
        writes = by_row["writes"]
        return {
            "rows": len(by_row),
            "rows_refreshed": int((writes > 1).sum()),
            "row_writes": int((writes - 1).clip(lower=0).sum()),
            "age_mean": float(by_row["age"].mean()),
            "store_generation": int(generation),
        }

    def _has(self, name: str) -> Callable[[], bool]:
        return lambda: (self.out / name).exists()

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Add the seconds of a stage to the state; those of an interrupted try count too."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = self.state["seconds"].get(name, 0.0) + time.perf_counter() - started
            self.state["seconds"][name] = round(spent, 2)
            self._save()

    def _claim(self) -> None:
        path = self.out / "demo.json"
        if path.exists():
            earlier = read_json(path, OutputExistsError)
            if not isinstance(earlier, dict) or earlier.get("options") != self.state["options"]:
                raise OutputExistsError(
                    f"{self.out} holds a demo made with other options (demo.json there): give another --out"
                )
            self.state = earlier
        elif self.out.exists() and any(self.out.iterdir()):
            raise OutputExistsError(f"{self.out} is not empty and holds no demo: give another --out")
        self._save()

    def _save(self) -> None:
        write_text(self.out / "demo.json", json.dumps(self.state, indent=1), overwrite=True)

    # -- output --

    def _show(self, name: str) -> None:
        done = self.state["done"][name]
        match name:
            case "synth":
                split = ", ".join(f"{k} {n}" for k, n in done["videos"].items())
                console.out.print(
                    f"{done['video_s'] / 60:.0f} minutes of video with {done['segments']} labelled segments; "
                    f"videos: {split}; no person is in two subsets"
                )
            case "extract":
                self._show_staleness("before training", "staleness_before.csv")
            case "train":
                self._show_staleness("after training", "staleness_after.csv")
                console.out.print(
                    f"{done['rows_refreshed']} of {done['rows']} rows were encoded anew, "
                    f"{done['row_writes']} times in all; "
                    f"the store stands at generation {done['store_generation']}"
                )
            case "evaluate":
                values = {f"mAP@{t}": v for t, v in done["mAP"].items()}
                table = pd.DataFrame([values | {"average": done["average_mAP"]}])
                title = f"{done['videos']} held-out videos, {done['instances']} segments"
                console.print_table(table, title=title)
            case "predict":
                self._show_new(done)

    def _show_staleness(self, when: str, name: str) -> None:
        table = pd.read_csv(self.out / name)
        columns = [c for c in ("video", "rows", "age_mean", "age_max", "writes", "never") if c in table]
        title = f"staleness {when} (5 of {len(table)} videos)"
        console.print_table(table[columns].head(5), title=title, digits=1)

    def _show_new(self, done: dict[str, Any]) -> None:
        rows = []
        detections = sorted(done["found"], key=lambda r: r["start_s"])
        for segment in done["truth"]:
            start_s, end_s = segment["start_s"], segment["end_s"]
            mine = [r for r in detections if min(r["end_s"], end_s) > max(r["start_s"], start_s)]
            right = [r for r in mine if r["right"] and r["found"] == segment["label"]]
            best = max(right or mine, key=lambda r: r["score"], default=None)
            if best in detections:
                detections.remove(best)
            rows.append({"truth": _span(segment["label"], segment), **_found(best)})
        rest = sorted(detections, key=lambda r: -r["score"])
        rows += [{"truth": "", **_found(r)} for r in rest[:_MOST_FALSE]]
        console.print_table(pd.DataFrame(rows), title=f"{done['video']}: ground truth beside detections")
        if len(rest) > _MOST_FALSE:
            console.out.print(f"… and {len(rest) - _MOST_FALSE} more false detections")

    def _finish(self) -> dict[str, Any]:
        done = self.state["done"]
        summary = {
            "mAP@0.5": done["evaluate"]["mAP"]["0.5"],
            "average_mAP": done["evaluate"]["average_mAP"],
            "mAP": done["evaluate"]["mAP"],
            "seconds": self.state["seconds"],
            "seconds_total": round(sum(self.state["seconds"].values()), 1),
            "peak_memory_mb": self._peak_memory(),
            "rows": done["train"]["rows"],
            "rows_refreshed": done["train"]["rows_refreshed"],
            "row_writes": done["train"]["row_writes"],
            "store_generation": done["train"]["store_generation"],
            "steps": done["train"]["steps"],
            "parameters": done["train"]["parameters"],
            "validation_mAP": done["train"]["validation_mAP"],
            "options": self.state["options"],
            "reused": self.reused,
        }
        write_text(self.out / "summary.json", json.dumps(summary, indent=1), overwrite=True)
        seconds = ", ".join(f"{k} {v:.0f}" for k, v in summary["seconds"].items())
        out = self.out
        console.out.rule("done", style="dim")
        console.out.print(
            f"mAP@0.5 {summary['mAP@0.5']:.3f}, average {summary['average_mAP']:.3f}; seconds: {seconds}; "
            f"peak memory {summary['peak_memory_mb']:.0f} MB"
        )
        console.out.print(f"picture: {out / 'timeline.png'} · numbers: {out / 'summary.json'}\n\nTry next:")
        for text, why in (
            (f"longtal predict YOUR.mp4 --model {out / 'run'} --out found --format srt", "your own video"),
            (f"longtal report {out / 'run'} --out {out / 'report.html'}", "curves, errors, memory age"),
            (f"longtal staleness {out / 'run/memory.zarr'}", "how old is which row"),
            ("longtal init --videos DIR --annotations FILE --out PROJECT", "train on your own data"),
            (f"longtal demo --out {out}-2 --seed 1", "other people, other rooms"),
        ):
            console.out.print(f"  {text}   # {why}", soft_wrap=True)
        return summary

    def _peak_memory(self) -> float:
        """Largest resident size of this process or a child, MB, over all calls."""
        unit = 1e6 if sys.platform == "darwin" else 1e3  # macOS counts bytes, Linux kilobytes
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        now = max(resource.getrusage(w).ru_maxrss for w in who) / unit
        self.state["peak_memory_mb"] = round(max(now, self.state.get("peak_memory_mb", 0.0)), 1)
        self._save()
        return self.state["peak_memory_mb"]


def predict_with_progress(
    detector: Detector, videos: dict[str, Path], out: Path, predict: Callable[..., Any]
) -> Any:
    """`pipelines.predict.run.predict` with a progress bar of videos."""
    with console.progress("videos") as bar:
        task = bar.add_task("looking", total=len(videos))
        report = predict(
            detector, videos, out, on_progress=lambda _, n, total: bar.advance(task) if n >= total else None
        )
        bar.update(task, completed=len(videos))
    return report


def _span(label: str, item: dict[str, Any]) -> str:
    return f"{label} {item['start_s']:.1f}–{item['end_s']:.1f} s"


def _found(item: dict[str, Any] | None) -> dict[str, Any]:
    if item is None:
        return {"found": "—", "score": "", "right": "missed"}
    verdict = "yes" if item["right"] else "no"
    return {"found": _span(item["found"], item), "score": f"{item['score']:.2f}", "right": verdict}
