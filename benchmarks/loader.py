"""Loader time per sample at r = 0.15 and r = 1: only the sampled clips are decoded. Hold: ratio <= 0.35.

    python -m benchmarks.loader                 # synthetic footage, long and short groups of pictures
    python -m benchmarks.loader --videos DIR    # your own, as they are and as `longtal prepare` writes them

One process, one decoding thread, no augmentation but the crop; each time is the median over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from tal.encoders import Preprocess
from tal.grid import ClipGrid, FrameGrid
from tal.memory.augment import AugmentConfig
from tal.memory.clip_loader import ClipReading, read_clips
from tal.memory.config import MemoryConfig, WindowConfig
from tal.memory.sampler import TrainingVideo, WindowSampler
from tal.video import open_video

CLIP, FPS, ROWS = 16, 15.0, 480  # frames per clip, rate, a 32 s window of one row per frame
GRID = ClipGrid(CLIP, 1)


def footage(path: Path, seconds: int, group: int, size: tuple[int, int], seed: int) -> None:
    """H.264 of a textured picture that pans, so that every picture costs bits."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 8 + 8, width // 8 + 8, 3)).astype(np.uint8)
    ground = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=int(FPS), options={"g": str(group), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(seconds * int(FPS)):
            dx, dy = int(24 + 20 * np.sin(k / 17)), int(24 + 20 * np.cos(k / 23))
            picture = np.ascontiguousarray(ground[dy : dy + height, dx : dx + width])
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def training_videos(paths: list[Path]) -> list[TrainingVideo]:
    videos = []
    for path in paths:
        with open_video(path) as video:
            duration_s = video.info.duration_s
        rows = GRID.num_rows(FrameGrid(FPS).num_frames(duration_s))
        nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
        videos.append(TrainingVideo(path.stem, rows, FPS, GRID.rows_at(FPS), *nothing, str(path), duration_s))
    return videos


def seconds_a_sample(videos: list[TrainingVideo], ratio: float, rounds: int) -> float:
    """Median time of one window's clips; the same windows for every ratio."""
    crop = 112
    prepare = Preprocess(size=128, crop=crop, mean=(0.5,) * 3, std=(0.5,) * 3)
    reading = ClipReading(GRID, prepare, AugmentConfig(photometric=0.0, rotation=0.0), "auto")
    window = WindowConfig(num_rows=ROWS, crop_ratio=(1.0, 1.0))
    windows = WindowSampler(videos, len(videos), window, MemoryConfig(ratio=ratio), 0, CLIP)
    times = []
    for epoch in range(rounds):
        for sample in windows.samples(epoch, 0):
            start = time.perf_counter()
            read_clips(sample, reading)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def report(name: str, videos: list[TrainingVideo], rounds: int) -> float:
    seconds_a_sample(videos, 0.15, 1)  # the files are in the page cache from here on
    few, every = (seconds_a_sample(videos, ratio, rounds) for ratio in (0.15, 1.0))
    ratio = few / every
    print(f"{name}: r = 0.15 {few * 1e3:.0f} ms, r = 1 {every * 1e3:.0f} ms per sample, ratio {ratio:.2f}")
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.videos:
        paths = sorted(p for p in options.videos.iterdir() if p.suffix in (".mp4", ".mkv", ".avi", ".webm"))
        report(str(options.videos), training_videos(paths[:8]), options.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, group, size in (
            ("short groups of 16, 171x128 (as `longtal prepare` writes)", 16, (172, 128)),
            ("groups of 250, 640x360 (as found)", 250, (640, 360)),
        ):
            paths = [Path(folder) / f"{group}_{k}.mp4" for k in range(3)]
            for seed, path in enumerate(paths):
                footage(path, 60, group, size, seed)
            report(name, training_videos(paths), options.rounds)
    print("hold: 0.35 on prepared videos")


if __name__ == "__main__":
    main()
