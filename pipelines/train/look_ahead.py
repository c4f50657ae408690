"""The batches of an epoch, the next of which may be asked for before its turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tal.errors import VideoError
from tal.memory.clip_loader import Batch

# the micro-batches of a step, and the seconds that the loop waited for them
Waited = tuple[list[Batch], float]


class LookAhead:
    """Iterates over ``source``.

    Raises
    ------
    VideoError
        a video of the step whose turn it is could not be decoded; of a step to come nothing is said yet, so
        that the one before it is finished.
    """

    def __init__(self, source: Iterator[Waited]) -> None:
        self._source = source
        self._next: Waited | None = None

    def next_batches(self) -> Sequence[Batch]:
        """The micro-batches of the next step; none at the end."""
        if self._next is None:
            self._next = next(self._source, None)
        return self._next[0] if self._next is not None else ()

    def __iter__(self) -> Iterator[Waited]:
        while self.next_batches():
            assert self._next is not None
            now, self._next = self._next, None
            for batch in now[0]:
                if batch.error:
                    raise VideoError(batch.error)
            yield now
