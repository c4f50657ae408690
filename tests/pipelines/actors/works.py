"""Work for actors that is quick, and ends badly where a test wants it: actors import it from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.actors import Message
from pipelines.actors.work import Round
from tal.errors import WeightsError
from tal.video.pool import DecodeTask


def tasks_named(*names: str) -> list[DecodeTask]:
    return [DecodeTask(name, Path(name), "auto") for name in names]


@dataclass(frozen=True)
class Counted:
    """Says ``steps`` times where it is in a video, and that it is through; notes in a folder what it does.

    A video named ``deadly`` kills its actor, one named ``endless`` does not end, one named ``wrong`` raises.
    """

    notes: Path
    steps: int = 3
    size: int = 0
    at_once: int = 1
    seconds: float = 0.0
    dies_at_birth: bool = False

    @contextmanager
    def open(self) -> Iterator[Round]:
        if self.dies_at_birth:
            os.kill(os.getpid(), signal.SIGKILL)
        yield self._round

    def _round(self, tasks: Iterator[DecodeTask]) -> Iterator[Message]:
        for task in tasks:
            self.note(f"{task.key} {os.getpid()}")
            for step in range(self.steps):
                if task.key == "deadly" and step == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                if task.key == "wrong":
                    raise WeightsError("they do not fit")
                while task.key == "endless":
                    time.sleep(0.1)
                time.sleep(self.seconds)
                self.note(".")
                yield Message(task.key, (task.key, step, bytes(self.size)), size=self.size)
            yield Message(task.key, (task.key, "end", b""), last=True)

    def note(self, line: str) -> None:
        with (self.notes / str(os.getpid())).open("a") as file:
            file.write(line + "\n")

    def failure(self, task: DecodeTask, reason: str) -> tuple[str, str, bytes]:
        return task.key, reason, b""


def noted(folder: Path) -> list[str]:
    """Lines of all actors."""
    return [line for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]
