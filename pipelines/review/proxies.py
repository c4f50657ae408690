"""Copies of videos for browsers, made when a video is first opened and kept between reviews."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.review.proxy import ProxyStopped, make_proxy
from tal.errors import LongtalError
from tal.shared.files import cache_folder


def default_folder() -> Path:
    """The user's cache: copies can be made again."""
    return cache_folder("review")


@dataclass
class _Job:
    """``state``: "waiting", "making", "ready" or "failed"."""

    state: str = "waiting"
    done: float = 0.0
    error: str = ""


class Proxies:
    """Makes copies one after the other, the one asked for last first; ``close`` ends that.

    A copy is named after its video's place, size and time of change, so that a changed video gets another.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs: dict[Path, _Job] = {}
        self._lock = threading.Lock()
        self._queue: queue.LifoQueue[tuple[Path, Path] | None] = queue.LifoQueue()
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def path(self, video: Path) -> Path:
        """Where the copy of a video is, or would be; OSError when there is no such video."""
        there = os.stat(video)
        name = f"{os.path.abspath(video)}\0{there.st_size}\0{there.st_mtime_ns}"
        return self.folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.mp4"

    def state(self, video: Path) -> dict[str, Any]:
        """What is known of a copy: its state ("none" before it was asked for), the share done, the error."""
        copy = self.path(video)
        with self._lock:
            job = self._jobs.get(copy)
            if job is not None and job.state != "ready":
                return {"state": job.state, "done": job.done, "error": job.error}
        return {"state": "ready" if copy.is_file() else "none", "done": 1.0 * copy.is_file(), "error": ""}

    def start(self, video: Path) -> None:
        """Have the copy made, unless it is there or on its way; a failed one is tried again."""
        copy = self.path(video)
        with self._lock:
            job = self._jobs.get(copy)
            on_its_way = job is not None and job.state in ("waiting", "making")
            if on_its_way or copy.is_file():
                return
            self._jobs[copy] = _Job()
        self._queue.put((video, copy))

    def close(self) -> None:
        self._stopped.set()
        self._queue.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (asked := self._queue.get()) is not None:
            video, copy = asked
            job = self._jobs[copy]
            try:
                self._tell(job, state="making")
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                make_proxy(video, copy, lambda share, job=job: self._progress(job, share))  # type: ignore[misc]
                self._tell(job, state="ready", done=1.0)
            except ProxyStopped:
                return
            except (LongtalError, OSError) as error:
                self._tell(job, state="failed", error=str(error))

    def _progress(self, job: _Job, share: float) -> None:
        if self._stopped.is_set():
            raise ProxyStopped
        self._tell(job, done=share)

    def _tell(self, job: _Job, **values: Any) -> None:
        with self._lock:
            for name, value in values.items():
                setattr(job, name, value)
