"""A writing process is killed at random moments, and the store must be exactly its last commit.

    python -m benchmarks.crash --kills 200

A child adds, writes, completes, fails, removes and commits at random, on a store with small chunks. Just
before each commit it prints a hash of features, ledger and video table with the generation that the commit
will make; it dies by SIGKILL at a random moment. The parent opens the store and compares. Exit code 1 when
any state differs."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from featstore import FeatureStore
from tests.featstore.simulation import SMALL, random_change, state


def child(path: Path, seed: int) -> None:
    """Change and commit until killed; prints a line of generation and hash before each commit."""
    rng = random.Random(seed)
    with FeatureStore.open(path, "r+") as store:
        step = number = seed * 100_000
        while True:
            for _ in range(rng.randrange(1, 12)):
                step, number = step + 1, number + 1
                random_change(store, rng, step, number)
            print(store.generation + 1, state(store), flush=True)
            store.commit()


def crash(kills: int, seed: int = 0, folder: str | None = None, longest_s: float = 0.25) -> dict[str, float]:
    """Run the test; AssertionError where the store is not its last commit."""
    rng = random.Random(seed)
    recovered = committed = 0
    places = {"before the commit": 0, "at the commit": 0}
    root = Path(tempfile.mkdtemp(prefix="longtal-crash-", dir=folder))
    path = root / "store.zarr"
    try:
        FeatureStore.create(path, SMALL, chunk_bytes=4096).close()
        with FeatureStore.open(path) as store:
            states = {store.generation: state(store)}
        began = time.time()
        for kill in range(kills):
            command = [sys.executable, "-m", "benchmarks.crash", "--child", str(path)]
            command += ["--seed", str(kill + 1)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(rng.uniform(0, longest_s))
            process.send_signal(signal.SIGKILL)
            lines = [first, *process.stdout.read().splitlines()]
            code = process.wait()
            assert code == -signal.SIGKILL, f"the child ended by itself: {code}"
            before = max(states)
            for line in lines:
                parts = line.split()
                if len(parts) == 2 and len(parts[1]) == 64:
                    states[int(parts[0])] = parts[1]
            with FeatureStore.open(path) as store:
                generation = store.generation
                assert state(store) == states[generation], (
                    f"kill {kill}: a reader finds another state than commit {generation}"
                )
                recovered += not store._commit.applied
            with FeatureStore.open(path, "r+") as store:
                assert store.generation == generation
                assert state(store) == states[generation], (
                    f"kill {kill}: recovery gives another state than commit {generation}"
                )
                assert not len(store.verify())
                rows, videos = store.num_rows, len(store.videos())
            announced = max(states)
            assert announced - 1 <= generation <= announced, (generation, announced)
            places["at the commit" if generation == announced else "before the commit"] += 1
            committed += generation - before
            states = {generation: states[generation]}
            if rows > 20_000:  # start afresh before it becomes slow
                shutil.rmtree(path)
                FeatureStore.create(path, SMALL, chunk_bytes=4096).close()
                with FeatureStore.open(path) as store:
                    states = {0: state(store)}
        assert committed > kills / 4, f"only {committed} commits happened in {kills} lives"
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return {
        "kills": kills,
        "commits": committed,
        "killed between commit and its application": recovered,
        "newest state announced stood": places["at the commit"],
        "newest state announced did not": places["before the commit"],
        "videos at the end": videos,
        "seconds": round(time.time() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", help="folder to make the store in (default: the system's folder for temporary files)"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.seed)
        return
    for name, value in crash(options.kills, options.seed, options.folder).items():
        print(f"{name:45s} {value}")
    print("every store opened at exactly its last commit")


if __name__ == "__main__":
    main()
