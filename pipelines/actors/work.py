"""What an actor does, as the loop and the actor see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from tal.video.pool import DecodeTask


@dataclass(frozen=True, slots=True)
class Message:
    """Something that came out of a video.

    Attributes
    ----------
    key
        of the video's task.
    value
        for whoever runs the loop.
    last
        the video is through.
    size
        bytes of what ``value`` holds beside small things.
    """

    key: str
    value: Any
    last: bool = False
    size: int = 0


Round = Callable[[Iterator[DecodeTask]], Iterator[Message]]


class Work(Protocol):
    """What is sent to an actor when it begins: settings, no networks and no rows."""

    def open(self) -> AbstractContextManager[Round]:
        """Load what is needed, once an actor; what it gives is called again and again.

        With an iterator of tasks that ends when there are none at the moment, and may go on before the round
        is over. A round ends with the last message of each of its tasks.
        """

    def failure(self, task: DecodeTask, reason: str) -> Any:
        """The value that says that a video failed."""

    @property
    def at_once(self) -> int:
        """Videos that an actor has under way together."""
