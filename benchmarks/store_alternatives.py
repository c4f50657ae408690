"""The cost, or loss, of the alternatives to the store's design (docs/design/001-write-ahead-log.md).

    python -m benchmarks.store_alternatives

fp16 rows, C = 1024, clips of 16 rows. zarr, sharded: 100 clips of one shard written at once by four workers,
and how many of them are not in the array afterwards. zarr: a clip written into a chunk of 128 MiB, and into a
chunk of its own. SQLite, one record per row, no sync: a window of 480 rows read and four clips rewritten,
against np.memmap and appends. Times are medians.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import zarr

from benchmarks.store import in_turns, show

CHANNELS, CLIP, WINDOW, WORKERS = 1024, 16, 480, 4


def write_clip(path: str, clip: int) -> None:
    """Fill one clip of a Zarr array with its number + 1."""
    array = zarr.open_array(path, mode="r+")
    array[clip * CLIP : (clip + 1) * CLIP] = clip + 1


def lost_clips(path: Path, workers: Executor, clips: int) -> int:
    """Clips of a shard that are not in the array after all have been written at once, none with an error."""
    shape = (clips * CLIP, CHANNELS)
    zarr.create_array(
        path, shape=shape, chunks=(CLIP, CHANNELS), shards=shape, dtype="f2", compressors=None, fill_value=0
    )
    for done in [workers.submit(write_clip, str(path), clip) for clip in range(clips)]:
        done.result()
    rows = zarr.open_array(path, mode="r")[:]
    return sum(int((rows[i * CLIP : (i + 1) * CLIP] != i + 1).any()) for i in range(clips))


def sharded(folder: Path, clips: int) -> None:
    for name, workers in (
        ("threads", ThreadPoolExecutor(WORKERS)),
        ("processes", ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))),
    ):
        with workers:
            lost = [lost_clips(folder / f"{name}{i}.zarr", workers, clips) for i in range(3)]
        print(f"zarr {zarr.__version__}, sharded, {WORKERS} {name}: lost {lost} of {clips} clips, no error")


def chunked(folder: Path, rows: int, repetitions: int) -> None:
    arrays = [
        zarr.create_array(
            folder / f"{chunk}.zarr",
            shape=(rows, CHANNELS),
            chunks=(chunk, CHANNELS),
            dtype="f2",
            compressors=None,
        )
        for chunk in (rows, CLIP)
    ]

    def write(k: int, i: int) -> None:
        at = i * CLIP % rows
        arrays[k][at : at + CLIP] = 1

    one, many = in_turns(repetitions, lambda i: write(0, i), lambda i: write(1, i))
    show(f"zarr: a clip into {rows * CHANNELS * 2 >> 20} MiB", one, "into a chunk of its own", many)


def database(folder: Path, rows: int, repetitions: int) -> None:
    rng = np.random.default_rng(0)
    flat = np.lib.format.open_memmap(folder / "plain.npy", "w+", np.float16, (rows, CHANNELS))
    flat[:] = rng.standard_normal(flat.shape)
    table = sqlite3.connect(folder / "rows.db")
    table.execute("PRAGMA journal_mode=WAL")
    table.execute("PRAGMA synchronous=NORMAL")
    table.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB)")
    with table:
        table.executemany("INSERT INTO rows VALUES (?, ?)", ((i, flat[i].tobytes()) for i in range(rows)))
    starts = rng.integers(rows - WINDOW, size=repetitions).tolist()
    clips = rng.integers(rows - CLIP, size=(repetitions, 4)).tolist()

    def read(i: int) -> np.ndarray:
        out = np.empty((WINDOW, CHANNELS), np.float16)
        query = "SELECT row FROM rows WHERE id >= ? AND id < ? ORDER BY id"
        for k, (row,) in enumerate(table.execute(query, (starts[i], starts[i] + WINDOW))):
            out[k] = np.frombuffer(row, np.float16)
        return out

    def write(i: int) -> None:
        for at in clips[i]:
            with table:
                new = ((flat[j].tobytes(), j) for j in range(at, at + CLIP))
                table.executemany("UPDATE rows SET row = ? WHERE id = ?", new)

    assert (read(0) == flat[starts[0] : starts[0] + WINDOW]).all()
    with open(folder / "log", "wb", buffering=0) as log:
        mine, other = in_turns(repetitions, read, lambda i: flat[starts[i] : starts[i] + WINDOW].copy())
        show("SQLite: a window of 480 rows", mine, "np.memmap slice copied", other)
        mine, other = in_turns(
            repetitions, write, lambda i: [log.write(flat[at : at + CLIP]) for at in clips[i]]
        )
        show("SQLite: 4 clips written again", mine, "4 appends", other)
    table.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=100, help="clips of the shard")
    parser.add_argument("--rows", type=int, default=1 << 16, help="rows of the arrays (a multiple of 16)")
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--folder", help="where to work; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        sharded(Path(name), arguments.clips)
        chunked(Path(name), arguments.rows, min(5, arguments.repetitions))
        database(Path(name), min(arguments.rows, 1 << 14), arguments.repetitions)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
