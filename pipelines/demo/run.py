"""The demo: synthetic videos, then every stage of a user's work, with the same pipelines.

OUT/ data/ (videos, annotations) · features.zarr (the extraction) · frozen/ (a run on rows at rest) ·
run/ (training through the memory, its rows, the model) · test/, frozen_test/ (detections of the held-out
videos) · new/ (a video of a new person, and its detections) · annotations.json, predictions.json,
evaluation.json · staleness_before.csv, staleness_after.csv · timeline.png · report.html · summary.json.
Called again it goes on where it stopped and reuses finished stages.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featstore.documents import read_json
from pipelines.demo import show
from pipelines.demo.options import DemoOptions
from pipelines.demo.synth import shuffle_labels, synthesize
from pipelines.shared import console
from pipelines.shared.files import OutputExistsError, write_text
from tal.annotations import read_annotations, write_annotations
from tal.metrics.protocols import DEFAULT_TIOU

if TYPE_CHECKING:
    from featstore import FeatureStore
    from pipelines.config import RunConfig
    from pipelines.predict.run import PredictReport
    from tal.inference.detector import Detector

PRESET = "demo"


def run_demo(out: str | Path, options: DemoOptions | None = None) -> dict[str, Any]:
    """Run the stages that are not finished yet; returns the summary, which ``out/summary.json`` holds too.

    Raises
    ------
    OutputExistsError
        ``out`` holds a demo made with other options, or something else.
    """
    return _Demo(Path(out), options or DemoOptions()).run()


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
        stages: tuple[tuple[str, Callable[[], dict[str, Any]], str], ...] = (
            ("synth", self.synth, "annotations.json"),
            ("extract", self.extract, "features.zarr"),
            ("frozen", self.frozen, "frozen/model"),
            ("train", self.train, "run/model"),
            ("evaluate", self.evaluate, "evaluation.json"),
            ("predict", self.predict, "report.html"),
        )
        with console.brief():
            for number, (name, work, leaves) in enumerate(stages, 1):
                stands = name in self.state["done"] and (self.out / leaves).exists()
                if stands:
                    self.reused.append(name)
                else:
                    with self._timed(name):
                        self.state["done"][name] = work()
                    self._save()
                show.stage(number, len(stages), name, self.state, reused=stands)
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
        rows = self._write_staleness("features.zarr", "staleness_before.csv")["rows"]
        return {"videos": len(report.done) + len(report.kept), "failed": report.failed, "rows": rows}

    def frozen(self) -> dict[str, Any]:
        """The same localizer on rows that never change: what the memory is to be compared with."""
        from featstore import FeatureStore

        steps = self._learn("frozen", self.config("memory.ratio=0"))["steps"]
        with FeatureStore.open(self.out / "features.zarr") as store:
            return {"steps": steps, **self._measure("frozen", "frozen_test", store)}

    def train(self) -> dict[str, Any]:
        return self._learn("run", self.config()) | self._write_staleness(
            "run/memory.zarr", "staleness_after.csv"
        )

    def evaluate(self) -> dict[str, Any]:
        measured = self._measure("run", "test")
        shutil.copyfile(self.out / "test" / "predictions.json", self.out / "predictions.json")
        shutil.copyfile(self.out / "test" / "evaluation.json", self.out / "evaluation.json")
        return measured

    def predict(self) -> dict[str, Any]:
        from pipelines.plot.run import write_timeline
        from tal.metrics.judge import judge

        truth = read_annotations(self.out / "new" / "data" / "annotations.json")
        ((name, annotation),) = truth.videos.items()
        path = self.out / "new" / "data" / "videos" / f"{name}.mp4"
        report = predict_with_progress(self.detector("run"), {name: path}, self.out / "new" / "found")
        confident = report.confident
        write_timeline(
            self.out / "timeline.png",
            confident,
            annotation.segments,
            annotation.duration_s,
            title=f"a new video ({path.name}): ground truth and detections",
            overwrite=True,
        )
        self._write_report()
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

    def config(self, *sets: str) -> RunConfig:
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
                *sets,
            ],
        )

    def _learn(self, name: str, config: RunConfig) -> dict[str, Any]:
        from pipelines.train import train

        with console.progress("steps") as bar:
            task = bar.add_task("learning", total=None)

            def tell(done: int, total: int, loss: float) -> None:
                bar.update(task, description=f"loss {loss:.2f}", completed=done, total=total)

            result = train(config, self.out / name, resume=True, command=sys.argv, on_step=tell)
        return {"steps": result.step, "parameters": result.num_parameters, "validation_mAP": result.best}

    def _measure(self, run: str, into: str, store: FeatureStore | None = None) -> dict[str, Any]:
        """mAP on the people of `test`, from their videos or from stored rows."""
        from pipelines.data.videos import pair_with_files
        from pipelines.evaluate.run import EvaluateOptions, evaluate_files, write_json

        truth = read_annotations(self.out / "annotations.json").subset("test")
        videos = pair_with_files(self.out / "data" / "videos", truth).by_annotation
        failed = predict_with_progress(self.detector(run), videos, self.out / into, store).failed
        evaluated = evaluate_files(
            EvaluateOptions(
                annotations=self.out / "annotations.json",
                predictions=(self.out / into / "predictions.json",),
                subset="test",
                tiou=DEFAULT_TIOU,
                thresholds_file=self.out / run / "model" / "thresholds.json",
            )
        )
        write_json(evaluated, self.out / into / "evaluation.json")
        result = evaluated.report
        return {
            "mAP": dict(zip((f"{t:g}" for t in result["tiou"]), result["mAP"], strict=True)),
            "average_mAP": result["average_mAP"],
            "videos": len(videos),
            "instances": truth.num_instances,
            "failed": failed,
        }

    def _write_report(self) -> None:
        from pipelines.report import collect, write_report

        write_report(collect(self.out / "run"), self.out / "report.html", overwrite=True)

    def detector(self, run: str) -> Detector:
        from tal.inference.detector import Detector

        return Detector.load(self.out / run)

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

    def _finish(self) -> dict[str, Any]:
        done = self.state["done"]
        measured, trained = done["evaluate"], done["train"]
        summary = {
            "mAP@0.5": measured["mAP"]["0.5"],
            "average_mAP": measured["average_mAP"],
            "mAP": measured["mAP"],
            "frozen": {name: done["frozen"][name] for name in ("mAP", "average_mAP", "steps")},
            "seconds": self.state["seconds"],
            "seconds_total": round(sum(self.state["seconds"].values()), 1),
            "peak_memory_mb": self._peak_memory(),
            **{name: trained[name] for name in ("rows", "rows_refreshed", "row_writes", "store_generation")},
            **{name: trained[name] for name in ("steps", "parameters", "validation_mAP")},
            "options": self.state["options"],
            "reused": self.reused,
        }
        write_text(self.out / "summary.json", json.dumps(summary, indent=1), overwrite=True)
        show.result(self.out, done, summary)
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
    detector: Detector, videos: dict[str, Path], out: Path, store: FeatureStore | None = None
) -> PredictReport:
    """`pipelines.predict.run.predict` with a progress bar of videos."""
    from pipelines.predict.run import predict

    with console.progress("videos") as bar:
        task = bar.add_task("looking", total=len(videos))
        report = predict(
            detector,
            videos,
            out,
            store=store,
            on_progress=lambda _, n, total: bar.advance(task) if n >= total else None,
        )
        bar.update(task, completed=len(videos))
    return report
