"""The process that does the work: called again and again, it goes on for a moment and tells what came out."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipelines.actors.errors import ActorError
from pipelines.actors.work import Message, Round, Work
from tal.video.pool import DecodeTask

# A call returns when it has so much, or after so long; one message more is the most that it has.
PIECE_BYTES = 4 << 20
PIECE_S = 0.25


@dataclass(frozen=True)
class Setting:
    """What an actor has to have in common with the process that called for it, so that both do the same.

    Attributes
    ----------
    folder
        that relative paths start from.
    version
        of longtal.
    """

    folder: Path
    version: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What a call brings: messages, and what was written to the log, (level, text)."""

    messages: list[Message]
    logged: list[tuple[int, str]]


class WorkActor:
    """Made into an actor by `loop`; its calls run one after another, in the order in which they were made."""

    def __init__(self, work: Work, setting: Setting) -> None:
        self._work, self._setting = work, setting
        self._logged: list[tuple[int, str]] = []
        self._waiting: deque[DecodeTask] = deque()
        self._stack = ExitStack()
        self._start_round: Round | None = None
        self._round: Iterator[Message] | None = None

    def begin(self) -> str:
        """Load what the work needs; the name of this machine.

        Raises
        ------
        ActorError
            this machine has another longtal, or does not see the caller's folder.
        """
        host = socket.gethostname()
        if version("longtal") != self._setting.version:
            raise ActorError(
                f"{host} has longtal {version('longtal')}, this machine {self._setting.version}: "
                "every machine of the cluster needs the same"
            )
        try:
            os.chdir(self._setting.folder)
        except OSError as error:
            raise ActorError(
                f"{host} does not see {self._setting.folder} ({error.strerror}): every machine of the "
                "cluster needs the same folders at the same paths"
            ) from error
        log = logging.getLogger("longtal")
        log.handlers, log.propagate = [_Collect(self._logged)], False
        log.setLevel(logging.INFO)
        self._start_round = self._stack.enter_context(self._work.open())
        return host

    def go_on(self, tasks: list[DecodeTask]) -> Piece:
        """Take videos, work for a moment, and give what has come out."""
        self._waiting.extend(tasks)
        until = time.monotonic() + PIECE_S
        messages: list[Message] = []
        size = 0
        while size < PIECE_BYTES and time.monotonic() < until:
            message = self._next()
            if message is None:
                break
            messages.append(message)
            size += message.size
        logged, self._logged[:] = self._logged[:], []
        return Piece(messages, logged)

    def _next(self) -> Message | None:
        """The next message; None when there is nothing to do."""
        while True:
            if self._round is None:
                if not self._waiting:
                    return None
                assert self._start_round is not None  # it has begun
                self._round = self._start_round(_Arriving(self._waiting))
            message = next(self._round, None)
            if message is not None:
                return message
            self._round = None


class _Arriving:
    """The tasks that are there: it ends when there are none, and goes on when there are some again."""

    def __init__(self, waiting: deque[DecodeTask]) -> None:
        self._waiting = waiting

    def __iter__(self) -> Iterator[DecodeTask]:
        return self

    def __next__(self) -> DecodeTask:
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()


class _Collect(logging.Handler):
    """Keeps what is logged, for the process that the user looks at."""

    def __init__(self, logged: list[tuple[int, str]]) -> None:
        super().__init__()
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        self._logged.append((record.levelno, f"{socket.gethostname()}: {record.getMessage()}"))
