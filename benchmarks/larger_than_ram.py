"""A store larger than memory under training's access pattern, and the metadata of a HACS-size store.

    python -m benchmarks.larger_than_ram                   # 1.5 x RAM, really written
    python -m benchmarks.larger_than_ram --gib 4 --minutes 1
    python -m benchmarks.larger_than_ram --metadata-only   # 37,600 videos, 14 million rows, left as holes

A step reads the stored rows of one window of 480 rows in each of BATCH videos, writes back 15 % of its
clips, and waits until --step-ms have passed since it began (the encoder's work); a commit every 100 steps.
The yardstick is the same loop, same run, on a store of 1/16 of the memory, which fits."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peak_memory import resident_mib
from featstore import FeatureSpec, FeatureStore

CHANNELS, CLIP, WINDOW, BATCH, ROWS = 1024, 8, 480, 4, 4096
SPEC = FeatureSpec("benchmark", "none", CHANNELS, clip_frames=16, frame_stride=2, fps=15.0)


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def build(path: Path, size: int) -> None:
    videos = max(BATCH, size // (ROWS * SPEC.row_bytes))
    rows = np.random.default_rng(0).standard_normal((ROWS, CHANNELS)).astype(np.float16)
    start = time.perf_counter()
    with FeatureStore.create(path, SPEC) as store:
        store.add_videos({"id": f"v{i}", "num_rows": ROWS} for i in range(videos))
        for i in range(videos):
            rows[:, 0] = i % 2000  # no two videos alike
            store.write(f"v{i}", 0, rows, step=0)
            store.complete(f"v{i}")
            if i % 64 == 63:
                store.commit()
        store.commit()
    seconds = time.perf_counter() - start
    print(f"wrote {videos} videos, {videos * ROWS * SPEC.row_bytes / 2**30:.1f} GiB in {seconds:.0f} s")


def train(path: Path, minutes: float, step_s: float, name: str) -> float:
    """Steps a second of the loop."""
    rng = np.random.default_rng(1)
    fresh = rng.standard_normal((CLIP, CHANNELS)).astype(np.float16)
    batch = np.empty((BATCH, WINDOW, CHANNELS), np.float16)
    with FeatureStore.open(path, "r+", run="benchmark") as store:
        ids = store.video_ids
        began, shown, steps, late = time.perf_counter(), 0.0, 0, 0
        while (elapsed := time.perf_counter() - began) < 60 * minutes:
            if elapsed - shown >= 30 or not steps:
                shown, kinds = elapsed, resident_mib()
                print(
                    f"  {name} {elapsed:5.0f} s: {steps} steps, {late} late; "
                    f"anonymous {kinds['RssAnon']:.0f} MiB, file pages {kinds['RssFile']:.0f} MiB",
                    flush=True,
                )
            start = time.perf_counter()
            chosen = rng.choice(len(ids), BATCH, replace=False).tolist()
            places = rng.integers(0, (ROWS - WINDOW) // CLIP, BATCH).tolist()
            for k, (video, place) in enumerate(zip(chosen, places, strict=True)):
                store.read(ids[video], place * CLIP, place * CLIP + WINDOW, out=batch[k])
            steps += 1
            for video, place in zip(chosen, places, strict=True):
                for clip in rng.choice(WINDOW // CLIP, 9, replace=False).tolist():
                    store.write(ids[video], (place + clip) * CLIP, fresh, step=steps)
            if steps % 100 == 0:
                store.commit()
            left = step_s - (time.perf_counter() - start)
            late += left < 0
            time.sleep(max(0.0, left))
        return steps / (time.perf_counter() - began)


def metadata(root: Path, videos: int = 37_600, rows: int = 14_000_000) -> None:
    """Open and staleness of a store with HACS's numbers of videos and rows; the rows themselves are holes."""
    path = root / "hacs.zarr"
    lengths = np.random.default_rng(0).multinomial(rows - videos, np.full(videos, 1 / videos)) + 1
    start = time.perf_counter()
    with _holes(), FeatureStore.create(path, SPEC) as store:
        store.add_videos(
            {"id": f"v_{i:011d}", "num_rows": int(n), "fps": 15.0} for i, n in enumerate(lengths)
        )
        added = time.perf_counter() - start
        for i in range(videos):
            store.complete(f"v_{i:011d}")
        store.commit()
    built = time.perf_counter() - start
    files = sum(1 for p in path.rglob("*") if p.is_file())
    print(f"{videos} videos, {rows} rows: added in {added:.1f} s, complete and committed after {built:.1f} s")
    print(f"files: {files}")
    times = {"open": [], "staleness by video": [], "staleness by clip": []}
    for _ in range(3):
        start = time.perf_counter()
        store = FeatureStore.open(path)
        times["open"].append(time.perf_counter() - start)
        for by in ("video", "clip"):
            start = time.perf_counter()
            assert store.staleness(by=by)["rows"].sum() == rows
            times[f"staleness by {by}"].append(time.perf_counter() - start)
        store.close()
    hold = {"open": "hold: <= 0.5 s", "staleness by video": "hold: <= 2 s", "staleness by clip": ""}
    for name, values in times.items():
        print(f"{name:20s} {np.median(values):7.3f} s   {hold[name]}")


class _holes:
    """Do not reserve blocks meanwhile: features of this size need not be on the disk to time the metadata."""

    def __enter__(self) -> None:
        from featstore.files import FileOps

        self.kept = FileOps.allocate
        FileOps.allocate = lambda self, fd, offset, length: None  # type: ignore[method-assign]

    def __exit__(self, *exception: object) -> None:
        from featstore.files import FileOps

        FileOps.allocate = self.kept  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, help="size of the large store; default 1.5 x RAM")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each loop")
    parser.add_argument(
        "--step-ms", type=float, default=250.0, help="time of a step, the encoder's work included"
    )
    parser.add_argument("--metadata-only", action="store_true")
    parser.add_argument(
        "--folder", help="where to make the stores (default: the system's folder for temporary files)"
    )
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="longtal-large-", dir=options.folder))
    try:
        metadata(root)
        if options.metadata_only:
            return
        memory = memory_bytes()
        size = int(options.gib * 2**30) if options.gib else int(1.5 * memory)
        if shutil.disk_usage(root).free < size * 1.3:
            raise SystemExit(f"needs {size * 1.3 / 2**30:.0f} GiB free in {root}")
        print(f"memory {memory / 2**30:.1f} GiB, step {options.step_ms:g} ms")
        rates = {}
        for name, amount in (("fits", min(size, memory // 16)), ("large", size)):
            build(root / f"{name}.zarr", amount)
            rates[name] = train(root / f"{name}.zarr", options.minutes, options.step_ms / 1e3, name)
            shutil.rmtree(root / f"{name}.zarr")
        ratio = rates["large"] / rates["fits"]
        print(f"steps/s: large {rates['large']:.2f}, fits {rates['fits']:.2f}: {ratio:.2f} x   hold: >= 0.7")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
