"""Work on many items in threads, in their order, with few under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A bucket answers slowly; what is under way takes memory.
UNDER_WAY = 6


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `work` makes of each item, in the order of the items.

    Parameters
    ----------
    work
        Called in threads. What it raises is raised here; items after that are not begun.
    items
        The items.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(UNDER_WAY) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > UNDER_WAY:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
