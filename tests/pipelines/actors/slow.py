"""An extraction with time to be killed in; actors import it from here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.actors import Message
from pipelines.actors.work import Round
from pipelines.extract.encode import EncodeVideos
from tal.video.pool import DecodeTask


class SlowEncode(EncodeVideos):
    """Takes its time for every clip; a file beside the videos, named after its process, says so."""

    @contextmanager
    def open(self) -> Iterator[Round]:
        with super().open() as encode:

            def slowly(tasks: Iterator[DecodeTask]) -> Iterator[Message]:
                for message in encode(noting(tasks)):
                    time.sleep(0.2)
                    yield message

            yield slowly


def noting(tasks: Iterator[DecodeTask]) -> Iterator[DecodeTask]:
    for task in tasks:
        (task.path.parent / f"{os.getpid()}.works").touch()
        yield task


def at_work(videos: Path) -> list[int]:
    """Processes that have begun a video, whether they live or not, the last begun first."""
    files = sorted(videos.glob("*.works"), key=lambda path: -path.stat().st_mtime_ns)
    return [int(path.stem) for path in files]
