"""Packed copies: their size and speed at each level, against `tar | zstd -3` of the same store.

    python -m benchmarks.store_travel

A store of fp16 rows made to look like those of a video encoder: channels of unlike size, most of them below
zero and cut there (ReLU) or not, and rows that change slowly along a video. One store with and one without
the cut. Processor seconds count all threads and child processes, so that a machine that does other work too
tells the same; the level and the yardstick take turns.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featstore import FeatureSpec, FeatureStore, pack_store, unpack_store


@dataclass(frozen=True)
class Cost:
    """What one way took: bytes, seconds by the clock, seconds of processor."""

    num_bytes: int
    wall_s: float
    cpu_s: float


def build(path: Path, videos: int, rows: int, channels: int, cut: bool) -> int:
    """A store whose rows are smooth along time; returns the bytes of its rows."""
    rng = np.random.default_rng(0)
    size, shift = np.exp(rng.normal(-1.5, 0.8, channels)), rng.normal(-0.5, 0.7, channels)
    spec = FeatureSpec("benchmark", "none", channels, clip_frames=16, frame_stride=4, fps=15.0)
    with FeatureStore.create(path, spec) as store:
        store.add_videos({"id": f"v{i}", "num_rows": rows} for i in range(videos))
        for i in range(videos):
            values = rng.standard_normal((rows, channels)).astype(np.float32)
            for at in range(1, rows):  # neighbours of a video have a correlation of 0.8
                values[at] = 0.8 * values[at - 1] + 0.6 * values[at]
            values = (values + shift) * size
            store.write(f"v{i}", 0, (np.maximum(values, 0) if cut else values).astype(np.float16), step=0)
            store.complete(f"v{i}")
        store.commit()
    return videos * rows * spec.row_bytes


def measured(work: Callable[[], object], target: Path) -> Cost:
    """What ``work`` took, which makes ``target``."""

    def processor() -> float:
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in used)

    before, begun = processor(), time.perf_counter()
    work()
    wall_s, cpu_s = time.perf_counter() - begun, processor() - before
    files = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
    return Cost(sum(path.stat().st_size for path in files), wall_s, cpu_s)


def fastest(rounds: int, work: Callable[[Path], object], root: Path) -> Cost:
    """The round of least processor time, each into a place of its own."""
    costs = []
    for number in range(rounds):
        target = root / f"out{number}"
        costs.append(measured(lambda target=target: work(target), target))
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    return min(costs, key=lambda cost: cost.cpu_s)


def tar_zstd(store: Path, target: Path) -> None:
    """`tar | zstd -3`; --sparse, since a store is larger than what it holds."""
    with (
        open(target, "wb") as out,
        subprocess.Popen(
            ["tar", "--sparse", "-C", str(store.parent), "-cf", "-", store.name], stdout=subprocess.PIPE
        ) as tar,
    ):
        subprocess.run(["zstd", "-3", "-q", "-c"], stdin=tar.stdout, stdout=out, check=True)
    assert tar.returncode == 0


def untar(archive: Path, target: Path) -> None:
    target.mkdir()
    with subprocess.Popen(["zstd", "-d", "-q", "-c", str(archive)], stdout=subprocess.PIPE) as unpacked:
        subprocess.run(["tar", "-C", str(target), "-xf", "-"], stdin=unpacked.stdout, check=True)


def show(what: str, cost: Cost, row_bytes: int, yard: Cost) -> None:
    print(
        f"{what:22s} {cost.num_bytes / 2**20:8.1f} MiB {cost.num_bytes / row_bytes:5.0%} of the rows"
        f"  {cost.num_bytes / yard.num_bytes:5.2f} x   {cost.wall_s:6.2f} s   processor {cost.cpu_s:6.2f} s"
        f"  {cost.cpu_s / yard.cpu_s:5.2f} x   {row_bytes / 2**20 / cost.cpu_s:6.0f} MiB/s"
    )


def compare(root: Path, args: argparse.Namespace, cut: bool) -> None:
    store = root / "bench.zarr"
    row_bytes = build(store, args.videos, args.rows, args.channels, cut)
    name = "cut at zero (ReLU)" if cut else "not cut"
    print(f"\nrows {name}: {row_bytes / 2**20:.0f} MiB; x: against tar | zstd -3 of the same store")
    yard = fastest(args.rounds, lambda target: tar_zstd(store, target), root)
    show("tar | zstd -3", yard, row_bytes, yard)
    for level in args.levels:
        cost = fastest(args.rounds, lambda target, n=level: pack_store(store, str(target), level=n), root)
        show(f"pack --level {level}", cost, row_bytes, yard)
    tar_zstd(store, root / "store.tar.zst")
    yard = fastest(args.rounds, lambda target: untar(root / "store.tar.zst", target), root)
    show("zstd -d | tar -x", yard, row_bytes, yard)
    for level in args.levels:
        packed = root / f"packed{level}"
        pack_store(store, str(packed), level=level)
        cost = fastest(args.rounds, lambda target, p=packed: unpack_store(str(p), target), root)
        show(f"unpack of level {level}", cost, row_bytes, yard)
        shutil.rmtree(packed)
    shutil.rmtree(store)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--rows", type=int, default=2048, help="rows of a video")
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; of them the cheapest counts")
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 3, 5, 9])
    parser.add_argument("--folder", help="where to work (default: the system's folder for temporary files)")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="longtal-bench-", dir=args.folder))
    try:
        for cut in (False, True):
            compare(root, args, cut)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
