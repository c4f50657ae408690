"""What actors of Ray cost: `python -m benchmarks.ray`.

Claim: <= 5 % a video at one second of work a video, against the same work in this process, measured in the
same run. Work is sleep, in ten steps that bring 100 KB of rows each, so that other work on the machine hardly
matters, and rows go where an extraction puts them, into a store. Seconds a video are the slope of a line
through the ends of the videos: starting Ray and an actor is paid once.

Then 38,000 videos (HACS has as many) of one row each that take no time at all, by two actors: the largest
rate at which this process hands out videos, takes their rows, writes and commits them; and its memory, which
must not grow with what is done.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featstore import FeatureSpec, FeatureStore
from pipelines.actors import Actors, Message
from pipelines.actors.cluster import Cluster, connected
from pipelines.actors.loop import run_on_actors
from pipelines.actors.work import Round
from pipelines.config import DataConfig
from pipelines.extract import ExtractOptions, ExtractReport
from pipelines.extract.run import Extraction, Stream
from pipelines.shared import console
from tal.encoders.stream import EncodedClip
from tal.grid import ClipGrid
from tal.video.pool import DecodeTask, Finished

_CHANNELS = 1280
_CLIP_ROWS = 40
_GRID = ClipGrid(_CLIP_ROWS, 1)
_HOLD = 0.05


@dataclass(frozen=True)
class Sleep:
    """A video takes ``seconds``, in ``clips`` steps; `pipelines.actors.Work`."""

    clips: int
    seconds: float
    num_rows: int
    at_once: int = 1

    @contextmanager
    def open(self) -> Iterator[Round]:
        yield self.round

    def round(self, tasks: Iterable[DecodeTask]) -> Iterator[Message]:
        for task in tasks:
            for clip in range(self.clips):
                if self.seconds:
                    time.sleep(self.seconds / self.clips)
                rows = np.full((min(_CLIP_ROWS, self.num_rows), _CHANNELS), clip, np.float16)
                yield Message(task.key, EncodedClip(task.key, clip, rows), size=rows.nbytes)
            yield Message(task.key, Finished(task.key, num_frames=self.num_rows), last=True)

    def failure(self, task: DecodeTask, reason: str) -> Finished:
        return Finished(task.key, error=reason)


def resident_mb() -> float:
    """Memory of this process without file pages, which the store's maps are."""
    words = {
        line.split(":")[0]: line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("Rss")
    }
    return int(words["RssAnon"]) / 1024


def extract(folder: Path, videos: int, work: Sleep, stream: Stream, marks: int) -> list[tuple[float, float]]:
    """(seconds, MB of memory) when the first video was through, and each ``marks``-th part of them."""
    spec = FeatureSpec(
        "sleep", weights="none", channels=_CHANNELS, clip_frames=_CLIP_ROWS, frame_stride=1, fps=1.0
    )
    paths = {f"v{number:05d}": Path("none") for number in range(videos)}
    table = [{"id": name, "num_rows": work.num_rows, "num_frames": work.num_rows} for name in paths]
    found: list[tuple[float, float]] = []
    report = ExtractReport(folder)

    def told(tasks: Iterable[DecodeTask]) -> Generator[Any, None, None]:
        ended = 0
        with closing(stream(tasks)) as events:
            for event in events:
                yield event
                if isinstance(event, Finished):
                    ended += 1
                    if ended == 1 or ended % (videos // marks) == 0:
                        found.append((time.perf_counter(), resident_mb()))

    with FeatureStore.create(folder, spec) as store:
        store.add_videos(table)
        store.commit()
        records = [store.video(name) for name in paths]
        Extraction(DataConfig(), ExtractOptions(), store, paths, _GRID, told, report).encode(records)
        store.commit()
    assert len(report.done) == videos and not report.failed
    return found


def here(work: Sleep) -> Stream:
    """The work in this process."""

    def stream(tasks: Iterable[DecodeTask]) -> Generator[Any, None, None]:
        yield from (message.value for message in work.round(tasks))

    return stream


def overhead(folder: Path, cluster: Cluster, videos: int, seconds: float) -> dict[str, object]:
    """Seconds a video here and by one actor."""
    work = Sleep(clips=10, seconds=seconds, num_rows=10 * _CLIP_ROWS)
    took = {}
    for name, stream in (
        ("here", here(work)),
        ("actor", lambda tasks: run_on_actors(cluster, work, tasks)),
    ):
        times = [at for at, _ in extract(folder / f"{name}-{seconds:g}.zarr", videos, work, stream, videos)]
        took[name] = float(np.polyfit(range(videos), times, 1)[0])
    share = took["actor"] / took["here"] - 1
    return {"work s": seconds, "here s": took["here"], "actor s": took["actor"], "more": f"{share:+.1%}"}


def many(folder: Path, cluster: Cluster, videos: int) -> pd.DataFrame:
    """Rate and memory over so many videos that take no time."""
    work = Sleep(clips=1, seconds=0.0, num_rows=1)
    found = extract(
        folder / "many.zarr", videos, work, lambda tasks: run_on_actors(cluster, work, tasks), marks=8
    )
    rows = []
    for part, ((before, _), (at, memory)) in enumerate(pairwise(found), start=1):
        count = videos // 8 - (part == 1)
        rows.append({"videos": part * (videos // 8), "a second": count / (at - before), "memory MB": memory})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=40, help="videos of one second of work")
    parser.add_argument("--many", type=int, default=38_000, help="videos of none")
    args = parser.parse_args()
    console.set_quiet(True)
    with tempfile.TemporaryDirectory() as folder:
        with connected(Actors("local", 1), "cpu") as cluster:
            rows = [overhead(Path(folder), cluster, args.videos, seconds) for seconds in (1.0, 0.1)]
        console.print_table(pd.DataFrame(rows), title=f"seconds a video (hold: {_HOLD:.0%} more at 1 s)")
        with connected(Actors("local", 2), "cpu") as cluster:
            console.print_table(many(Path(folder), cluster, args.many), title="two actors", digits=1)


if __name__ == "__main__":
    main()
