"""An extraction and a prediction with time to be killed in; actors import them from here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.actors import Message
from pipelines.actors.work import Round
from pipelines.extract.encode import EncodeVideos
from pipelines.predict.detect import DetectVideos
from tal.video.pool import DecodeTask


class SlowDetect(DetectVideos):
    """As `SlowEncode`, for every video."""

    @contextmanager
    def open(self) -> Iterator[Round]:
        with super().open() as detect:
            yield slowed(detect, 0.5)


class SlowEncode(EncodeVideos):
    """Takes its time for every clip; a file beside the videos, named after its process, says so."""

    @contextmanager
    def open(self) -> Iterator[Round]:
        with super().open() as encode:
            yield slowed(encode, 0.2)


def slowed(round_: Round, seconds: float) -> Round:
    """A round that takes its time, and stands still while there is a file ``hold`` beside the videos."""

    def slowly(tasks: Iterator[DecodeTask]) -> Iterator[Message]:
        folder = Path()

        def noting() -> Iterator[DecodeTask]:
            nonlocal folder
            for task in tasks:
                folder = task.path.parent
                (folder / f"{os.getpid()}.works").touch()
                yield task

        for message in round_(noting()):
            while (folder / "hold").exists():
                time.sleep(0.1)
            time.sleep(seconds)
            yield message

    return slowly


def at_work(videos: Path) -> list[int]:
    """Processes that have begun a video, whether they live or not, the last begun first."""
    files = sorted(videos.glob("*.works"), key=lambda path: -path.stat().st_mtime_ns)
    return [int(path.stem) for path in files]


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
