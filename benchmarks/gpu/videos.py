"""Section videos: the footage of the other sections, and its annotations."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.extract import make_video
from benchmarks.gpu.results import Workplace
from tal.shared.cores import usable_cores
from tal.video import open_video

FULL, TOY = (16, 40), (4, 6)  # videos, seconds of each
LABELS = ("a", "b")
_HELD_OUT = 4  # one video in so many is validation


def run(work: Workplace) -> None:
    """Make the videos in parallel, and look at each as a reader sees it."""
    count, seconds = TOY if work.toy else FULL
    make(work.folder, count, seconds, processes=1 if work.toy else min(count, usable_cores()))
    durations = []
    for path in video_paths(work.folder):
        with open_video(path) as video:
            durations.append(video.info.duration_s)
    there = sum(abs(duration - seconds) < 0.1 for duration in durations)
    work.results.check("videos.whole", there == count, there, count, "videos")


def make(folder: Path, count: int, seconds: int, processes: int) -> None:
    """``count`` videos in FOLDER/videos, and FOLDER/annotations.json: two actions in each, of `LABELS`."""
    videos = folder / "videos"
    videos.mkdir()
    paths = [videos / f"v{number:02d}.mp4" for number in range(count)]
    if processes == 1:  # a process takes longer to start than a small video to make
        for number, path in enumerate(paths):
            make_video(path, seconds, number)
    else:
        spawn = multiprocessing.get_context("spawn")  # fork copies the locks of threads
        with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
            list(pool.map(make_video, paths, [seconds] * count, range(count)))
    rng = np.random.default_rng(0)
    database = {}
    for number, path in enumerate(paths):
        length = seconds / 5
        starts = rng.uniform((0, seconds / 2), (seconds / 2 - length, seconds - length))
        actions = [
            {"label": label, "segment": [float(start), float(start + length)]}
            for label, start in zip(LABELS, starts, strict=True)
        ]
        subset = "validation" if number % _HELD_OUT == _HELD_OUT - 1 else "training"
        database[path.stem] = {"subset": subset, "duration": float(seconds), "annotations": actions}
    tree = {"version": "1", "taxonomy": [], "database": database}
    (folder / "annotations.json").write_text(json.dumps(tree))


def video_paths(folder: Path) -> list[Path]:
    """The videos that this section left in a folder."""
    return sorted((folder / "videos").glob("*.mp4"))
