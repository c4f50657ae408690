"""The cost of the long memory: reads, gathers, writes and commits against the plainest possible ways.

    python -m benchmarks.store

One store of fp16 rows, C = 1024, 20 videos of 4,096 rows (160 MiB, in the page cache), clips of 16 rows.
Yardsticks of the same run: an np.memmap of the same matrix, appends of the same bytes to a plain file,
zarr's own indexing of the same store, tensorstore. Each figure is the median of many repetitions, the two
sides taking turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from featstore import FeatureSpec, FeatureStore

CHANNELS, VIDEOS, ROWS, CLIP = 1024, 20, 4096, 16
SPEC = FeatureSpec("benchmark", "none", CHANNELS, clip_frames=CLIP, frame_stride=1, fps=16.0)


def in_turns(repetitions: int, *functions: Callable[[int], object]) -> list[float]:
    """Median seconds of each function(i), the functions taking turns so that they meet the same machine."""
    times = np.empty((len(functions), repetitions))
    for i in range(repetitions):
        for k, function in enumerate(functions):
            start = time.perf_counter()
            function(i)
            times[k, i] = time.perf_counter() - start
    return np.median(times, axis=1).tolist()


def show(what: str, seconds: float, yardstick: str, other: float, hold: str = "") -> None:
    ratio = seconds / other
    text = f"{ratio:6.2f} x" if ratio >= 0.2 else f"1/{1 / ratio:<6.0f}"
    print(f"{what:34s} {seconds * 1e3:9.4f} ms   {yardstick:30s} {other * 1e3:9.4f} ms   {text}   {hold}")


def build(root: Path) -> tuple[Path, np.memmap]:
    rng = np.random.default_rng(0)
    path = root / "bench.zarr"
    flat = np.lib.format.open_memmap(root / "plain.npy", "w+", np.float16, (VIDEOS * ROWS, CHANNELS))
    with FeatureStore.create(path, SPEC) as store:
        store.add_videos({"id": f"v{i}", "num_rows": ROWS} for i in range(VIDEOS))
        for i in range(VIDEOS):
            rows = rng.standard_normal((ROWS, CHANNELS)).astype(np.float16)
            store.write(f"v{i}", 0, rows, step=0)
            flat[i * ROWS : (i + 1) * ROWS] = rows
            store.complete(f"v{i}")
        store.commit()
    return path, flat


def reads(path: Path, flat: np.memmap) -> None:
    import tensorstore
    import zarr

    rng = np.random.default_rng(1)
    starts = rng.integers(0, ROWS - 480, 4000)
    own, other = np.empty((480, CHANNELS), np.float16), np.empty((480, CHANNELS), np.float16)
    array = zarr.open_group(str(path), mode="r")["features"]
    driver = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/features/"}}
    tensor = tensorstore.open(
        driver, context=tensorstore.Context({"cache_pool": {"total_bytes_limit": 1 << 30}})
    ).result()
    with FeatureStore.open(path) as store:

        def by_store(i: int) -> None:
            store.read("v7", int(starts[i]), int(starts[i]) + 480, out=own)

        def by_map(i: int) -> None:
            at = 7 * ROWS + int(starts[i])
            other[:] = flat[at : at + 480]

        def by_zarr(i: int) -> None:
            at = 7 * ROWS + int(starts[i])
            array[at : at + 480]

        def by_tensorstore(i: int) -> None:
            at = 7 * ROWS + int(starts[i])
            tensor[at : at + 480].read().result()

        by_store(0), by_map(0)
        assert (own == other).all()
        mine, plain = in_turns(2000, by_store, by_map)
        show("window read, 480 rows", mine, "np.memmap slice copied", plain, "hold: <= 2 x")
        zarrs, tensors = in_turns(15, by_zarr, by_tensorstore)
        show("window read, 480 rows", mine, "zarr's indexing, same store", zarrs, "hold: <= 1/50")
        show("window read, 480 rows", mine, "tensorstore (cached), same store", tensors)

        clips = rng.integers(0, ROWS // CLIP, (2000, 20)) * CLIP
        batch, copied = (
            np.empty((20 * CLIP, CHANNELS), np.float16),
            np.empty((20, CLIP, CHANNELS), np.float16),
        )

        def gather(i: int) -> None:
            store.gather([("v3", slice(c, c + CLIP)) for c in clips[i].tolist()], out=batch)

        def gather_plain(i: int) -> None:
            for k, c in enumerate(clips[i].tolist()):
                copied[k] = flat[3 * ROWS + c : 3 * ROWS + c + CLIP]

        mine, plain = in_turns(1000, gather, gather_plain)
        assert (batch == copied.reshape(batch.shape)).all()
        show("gather, 20 clips of 16 rows", mine, "np.memmap slices copied", plain)
        (many,) = in_turns(
            3, lambda i: [array[3 * ROWS + c : 3 * ROWS + c + CLIP] for c in clips[i].tolist()]
        )
        show("gather, 20 clips of 16 rows", mine, "zarr's indexing, same store", many)


def writes(path: Path, root: Path) -> None:
    rng = np.random.default_rng(2)
    clips = rng.standard_normal((64, CLIP, CHANNELS)).astype(np.float16)
    with (
        FeatureStore.open(path, "r+", run="bench") as store,
        open(root / "plain.log", "wb", buffering=0) as plain,
    ):
        order = rng.permutation(VIDEOS * ROWS // CLIP)

        def one(i: int) -> None:
            video, clip = divmod(int(order[i]), ROWS // CLIP)
            store.write(f"v{video}", clip * CLIP, clips[i % 64], step=1)

        def append(i: int) -> None:
            plain.write(clips[i % 64])

        def four(i: int) -> None:
            for k in range(4):
                one(2000 + 4 * (i % 500) + k)

        def append_four(i: int) -> None:
            for k in range(4):
                plain.write(clips[(4 * i + k) % 64])

        mine, other = in_turns(600, one, append)
        show("clip write, 16 rows (new)", mine, "append of the same bytes", other, "hold: <= 3 x")
        mine, other = in_turns(500, four, append_four)
        show("4 clips written (new)", mine, "4 appends of the same bytes", other, "hold: <= 3 x")
        mine, other = in_turns(500, four, append_four)
        show("4 clips written (again)", mine, "4 appends of the same bytes", other, "hold: <= 3 x")
        held = np.empty((480, CHANNELS), np.float16)
        mine = in_turns(500, lambda i: store.read(f"v{i % VIDEOS}", 1000, 1480, out=held))[0]
        print(f"{'window read over the log':34s} {mine * 1e3:9.4f} ms   ({store._log.count} rows in the log)")
        store.commit()
        figures = []
        for _ in range(3):
            for i in rng.permutation(VIDEOS * ROWS // CLIP)[:625].tolist():
                video, clip = divmod(int(i), ROWS // CLIP)
                store.write(f"v{video}", clip * CLIP, clips[i % 64], step=2)
            start = time.perf_counter()
            store.commit()
            figures.append(time.perf_counter() - start)
            with open(root / "sync.bin", "wb", buffering=0) as file:
                start = time.perf_counter()
                for k in range(625):
                    file.write(clips[k % 64])
                os.fsync(file.fileno())
                synced = time.perf_counter() - start
        show("commit of 10,000 rows", float(np.median(figures)), "20 MB appended and synced once", synced)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", help="where to make the store (default: the system's folder for temporary files)"
    )
    root = Path(tempfile.mkdtemp(prefix="longtal-bench-", dir=parser.parse_args().folder))
    try:
        path, flat = build(root)
        reads(path, flat)
        writes(path, root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
