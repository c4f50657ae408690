"""mAP at ActivityNet's scale against a plain-Python reference: equal, and how much faster per prediction.

Run: ``python -m benchmarks.evaluate``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tal.annotations import (
    AnnotationSet,
    Segment,
    VideoAnnotation,
    prediction_frame,
    read_predictions,
    write_annotations,
    write_predictions,
)
from tal.metrics import PROTOCOLS, Evaluation, evaluate

Instance = tuple[str, str, float, float]  # video, label, start_s, end_s
Prediction = tuple[str, str, float, float, float]  # … and score


def plain_average_precisions(
    instances: Sequence[Instance], predictions: Sequence[Prediction], thresholds: Sequence[float]
) -> dict[str, list[float]]:
    """Label -> AP by threshold, in the plainest form: one label, threshold and prediction after the other.

    A prediction takes the free instance of its video that it overlaps most, if that is enough. Ties: of equal
    scores and of equal tIoUs the later one comes first.
    """
    labels = list(dict.fromkeys(i[1] for i in instances))
    result = {}
    for label in labels:
        truth = [i for i in instances if i[1] == label]
        ranked = sorted((p for p in predictions if p[1] == label), key=lambda p: p[4])[::-1]
        result[label] = [_plain_ap(_plain_hits(truth, ranked, t), len(truth)) for t in thresholds]
    return result


def _plain_hits(truth: list[Instance], ranked: list[Prediction], threshold: float) -> list[bool]:
    by_video: dict[str, list[Instance]] = {}
    for i in truth:
        by_video.setdefault(i[0], []).append(i)
    taken: set[tuple[str, int]] = set()
    hits = []
    for video, _, start, end, _ in ranked:
        best, best_tiou = None, threshold
        for number, (_, _, a, b) in enumerate(by_video.get(video, [])):
            overlap = plain_tiou(start, end, a, b)
            if (video, number) not in taken and overlap >= best_tiou:
                best, best_tiou = number, overlap
        hits.append(best is not None)
        if best is not None:
            taken.add((video, best))
    return hits


def plain_tiou(a_start: float, a_end: float, b_start: float, b_end: float) -> float:
    inner = max(min(a_end, b_end) - max(a_start, b_start), 0.0)
    union = (b_end - b_start) + (a_end - a_start) - inner
    return inner / union if union > 0 else 0.0


def _plain_ap(hits: list[bool], total: int) -> float:
    precision, recall, true = [0.0], [0.0], 0
    for n, hit in enumerate(hits, start=1):
        true += hit
        precision.append(true / n)
        recall.append(true / total)
    precision.append(0.0)
    recall.append(1.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum(
        (recall[i + 1] - recall[i]) * precision[i + 1]
        for i in range(len(recall) - 1)
        if recall[i + 1] != recall[i]
    )


def make_data(
    num_videos: int, num_predictions: int, num_labels: int, seed: int = 0
) -> tuple[list[Instance], list[Prediction]]:
    """Synthetic ground truth and detections.

    A video has 1 to 4 instances of one label, sometimes two. As detectors for ActivityNet do, each stretch
    is predicted for two labels of the video; half of the stretches lie near an instance, half anywhere.
    """
    rng = np.random.default_rng(seed)
    instances: list[Instance] = []
    predictions: list[Prediction] = []
    each = num_predictions // num_videos
    for v in range(num_videos):
        name, duration = f"v_{v:07d}", float(rng.uniform(30, 240))
        own = []
        first, second = rng.integers(0, num_labels, 2)
        for label in rng.choice([first, second], rng.integers(1, 5), p=[0.9, 0.1]):
            start, length = rng.uniform(0, 0.8 * duration), rng.uniform(0.05, 0.5) * duration
            own.append((name, f"class {label:03d}", float(start), float(min(start + length, duration))))
        instances += own
        near = rng.random(each) < 0.5
        shift, which = rng.normal(0, 0.15, (each, 2)), rng.integers(0, len(own), each)
        anywhere, score = np.sort(rng.uniform(0, duration, (each, 2)), axis=1), rng.random(each)
        guess = rng.choice([first, second], each)
        for i in range(each):
            _, label, start, end = own[which[i]]
            span = end - start
            if near[i]:
                start, end = start + shift[i, 0] * span, end + shift[i, 1] * span
                predictions.append((name, label, float(start), float(end), float(score[i])))
            else:
                start, end = anywhere[i].tolist()
                predictions.append((name, f"class {guess[i]:03d}", start, end, float(score[i]) * 0.7))
    return instances, predictions


def as_annotations(instances: Sequence[Instance]) -> AnnotationSet:
    videos: dict[str, list[Segment]] = {}
    for video, label, start, end in instances:
        videos.setdefault(video, []).append(Segment(start, end, label))
    labels = tuple(sorted({i[1] for i in instances}))
    return AnnotationSet(
        {v: VideoAnnotation(v, "validation", tuple(s), duration_s=240.0) for v, s in videos.items()}, labels
    )


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


# The peak of a process's own pages; getrusage would count those of the process that started it.
_CHILD = """
import atexit, sys, cli
def peak():
    line = next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))
    print("PEAK", line.split()[1], file=sys.stderr)
atexit.register(peak)
cli.main()
"""


def _whole_command(arguments: list[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak MiB of `longtal …` in a process of its own (Linux)."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    wall = time.perf_counter() - begin
    return wall, float(done.stderr.rpartition("PEAK")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--predictions", type=int, default=400_000)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--sample", type=int, default=250, help="videos that the plain reference sees")
    args = parser.parse_args()
    tiou = PROTOCOLS["activitynet"].tiou
    instances, predictions = make_data(args.videos, args.predictions, args.labels)
    annotations = as_annotations(instances)
    frame = prediction_frame(
        [p[0] for p in predictions],
        [p[2] for p in predictions],
        [p[3] for p in predictions],
        [p[1] for p in predictions],
        [p[4] for p in predictions],
    )

    ours = min(_seconds(lambda: evaluate(annotations, frame, tiou)) for _ in range(3))
    result = evaluate(annotations, frame, tiou)
    sampled = {f"v_{v:07d}" for v in range(args.sample)}
    few_instances = [i for i in instances if i[0] in sampled]
    few_predictions = [p for p in predictions if p[0] in sampled]
    begin = time.perf_counter()
    plain = plain_average_precisions(few_instances, few_predictions, tiou)
    theirs = time.perf_counter() - begin
    small = evaluate(as_annotations(few_instances), frame[frame["video_id"].isin(sampled)], tiou)
    difference = max(abs(np.array(small.per_class[k]) - ap).max() for k, ap in plain.items())
    ratio = (theirs / len(few_predictions)) / (ours / len(predictions))
    print(
        f"{len(instances)} instances, {len(predictions)} predictions, {args.labels} labels, {len(tiou)} tIoUs"
    )
    print(f"average mAP {result.average_mAP:.4f}; evaluated in {ours:.2f} s")
    print(f"plain reference on {len(few_predictions)} predictions: {theirs:.2f} s")
    print(f"largest difference on the sample: {difference:.1e} (hold: <= 1e-9)")
    print(f"ratio: {ratio:.1f} times faster a prediction (hold: >= 20)")

    begin = time.perf_counter()
    Evaluation(annotations, frame, tiou).diagnosis(PROTOCOLS["activitynet"])
    print(f"with the error diagnosis: {time.perf_counter() - begin:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        truth_path, path = Path(folder, "annotations.json"), Path(folder, "predictions.json")
        write_annotations(annotations, truth_path)
        write_predictions(frame, path)
        begin = time.perf_counter()
        with path.open("rb") as file:
            json.load(file)
        plain_load = time.perf_counter() - begin
        begin = time.perf_counter()
        read_predictions(path)
        load = time.perf_counter() - begin
        size = path.stat().st_size / 1e6
        print(f"loading {size:.0f} MB of JSON: {load:.2f} s (json.load alone {plain_load:.2f} s)")
        arguments = [
            "evaluate",
            "--annotations",
            str(truth_path),
            "-p",
            str(path),
            "--protocol",
            "activitynet",
        ]
        wall, peak = _whole_command([*arguments, "--json", str(Path(folder, "out.json"))])
        print(f"the whole command, diagnosis included: {wall:.2f} s, {peak:.0f} MiB at its peak")


if __name__ == "__main__":
    main()
