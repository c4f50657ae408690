"""Who gives the actors work and takes what they bring, and what becomes of the videos of one that dies.

Each actor has two calls under way, so that it never waits for the next: what a call brings is bounded
(`actor.PIECE_BYTES`), and so is what is on its way: actors x calls x piece. It has few videos in hand: those
that it works on and one more, and twice as many when it ran dry, since then they are short.

A dead actor is replaced. The videos that it had are suspects: each is done again alone, and one that had
three actors die on it has failed.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.actors.actor import Piece, Setting, WorkActor
from pipelines.actors.cluster import PIECES, Cluster
from pipelines.actors.errors import ActorError
from pipelines.actors.work import Work
from pipelines.shared import console
from tal.errors import LongtalError
from tal.video.pool import DecodeTask

MOST_DEATHS = 3
_MOST_IN_HAND = 64
_WAIT_S = 1.0
_SAY_AFTER_S = 60.0


def run_on_actors(cluster: Cluster, work: Work, tasks: Iterable[DecodeTask]) -> Generator[Any, None, None]:
    """The values of the messages of all videos, each video's in order; close it to end the actors.

    Parameters
    ----------
    tasks
        taken one by one, when an actor has room.

    Raises
    ------
    ActorError
        actors die before they have begun.
    LongtalError
        what kept an actor from working, but for what is one video's fault.
    """
    loop = _Loop(cluster, work, tasks)
    try:
        yield from loop.run()
    finally:
        loop.close()


@dataclass(eq=False)
class _Actor:
    """One actor as the loop sees it.

    Attributes
    ----------
    beginning
        the call that loads its work, while it does.
    calls
        under way, the oldest first.
    hands
        videos that it has, in the order in which it got them.
    since
        when it took those that it works on.
    limit
        videos that it may have.
    """

    handle: Any
    limit: int
    beginning: Any
    calls: deque[Any] = field(default_factory=deque)
    hands: dict[str, DecodeTask] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    alone: bool = False

    @property
    def oldest(self) -> Any:
        return self.beginning or (self.calls[0] if self.calls else None)


class _Loop:
    def __init__(self, cluster: Cluster, work: Work, tasks: Iterable[DecodeTask]) -> None:
        import ray

        self._ray = ray
        self._cluster, self._work = cluster, work
        self._setting = Setting(Path.cwd(), version("longtal"))
        self._actor_class = ray.remote(WorkActor).options(
            num_cpus=1,
            num_gpus=cluster.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._tasks = iter(tasks)
        self._given_back: deque[DecodeTask] = deque()
        self._suspects: deque[DecodeTask] = deque()
        self._deaths: Counter[str] = Counter()
        self._stillborn = 0
        self._heard_at = time.monotonic()
        self._actors: list[_Actor] = []

    def run(self) -> Iterator[Any]:
        while len(self._actors) < self._cluster.count and self._has_more():
            self._hire()
        while True:
            for actor in self._actors:
                self._hand_out(actor)
            calls = {actor.oldest: actor for actor in self._actors if actor.oldest is not None}
            if not (self._has_more() or self._suspects or any(actor.hands for actor in self._actors)):
                return
            ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=_WAIT_S)
            for call in ready:
                yield from self._receive(calls[call])
            yield from self._time_out()
            self._say_who_is_awaited()

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors.clear()

    # -- videos go out
    # ------------------------------------------------------------------------------------------------

    def _has_more(self) -> bool:
        if not self._given_back:
            task = next(self._tasks, None)
            if task is not None:
                self._given_back.append(task)
        return bool(self._given_back)

    def _hire(self) -> None:
        handle: Any = self._actor_class.remote(self._work, self._setting)
        self._actors.append(_Actor(handle, self._work.at_once + 1, handle.begin.remote()))

    def _hand_out(self, actor: _Actor) -> None:
        """Keep an actor's calls under way, with the videos that it has room for."""
        while actor.beginning is None and len(actor.calls) < PIECES:
            tasks = self._choose(actor)
            actor.hands |= {task.key: task for task in tasks}
            if not actor.hands:
                return
            actor.calls.append(actor.handle.go_on.remote(tasks))
        now = time.monotonic()
        for key in list(actor.hands)[: self._work.at_once]:
            actor.since.setdefault(key, now)

    def _choose(self, actor: _Actor) -> list[DecodeTask]:
        if not actor.hands:
            actor.alone = bool(self._suspects)
            if actor.alone:
                return [self._suspects.popleft()]
        tasks: list[DecodeTask] = []
        while not actor.alone and len(actor.hands) + len(tasks) < actor.limit and self._has_more():
            tasks.append(self._given_back.popleft())
        return tasks

    # -- what comes back
    # ------------------------------------------------------------------------------------------------

    def _receive(self, actor: _Actor) -> Iterator[Any]:
        """The values of an actor's oldest call, which has returned."""
        exceptions = self._ray.exceptions
        call = actor.oldest
        try:
            result = self._ray.get(call)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, LongtalError):
                raise error.cause from None
            raise
        except exceptions.RayError as error:
            yield from self._bury(actor, _on_one_line(error))
            return
        self._heard_at = time.monotonic()
        if actor.beginning is not None:
            actor.beginning = None
            self._stillborn = 0
            return
        actor.calls.popleft()
        assert isinstance(result, Piece)
        for level, text in result.logged:
            console.log.log(level, "%s", text)
        for message in result.messages:
            if message.last:
                del actor.hands[message.key]
                actor.since.pop(message.key, None)
            yield message.value
        if not actor.hands and not actor.alone:  # it ran dry: these videos are short
            actor.limit = min(2 * actor.limit, _MOST_IN_HAND)

    def _bury(self, actor: _Actor, why: str) -> Iterator[Any]:
        """An actor is dead: its videos are suspects, and another takes its place."""
        self._dismiss(actor)
        if actor.beginning is not None:
            self._stillborn += 1
            if self._stillborn >= MOST_DEATHS:
                raise ActorError(f"{self._stillborn} actors died before they had begun; the last: {why}")
        console.log.warning(
            "an actor died and is replaced; %d videos that it had are done again, one at a time: %s",
            len(actor.hands),
            why,
        )
        for task in actor.hands.values():
            self._deaths[task.key] += 1
            if self._deaths[task.key] < MOST_DEATHS:
                self._suspects.append(task)
            else:
                reason = f"{task.path}: {MOST_DEATHS} actors died on it; the last: {why}"
                yield self._work.failure(task, reason)
        self._hire()

    def _time_out(self) -> Iterator[Any]:
        """Videos that take too long fail, and their actors end; what else these had is done again."""
        limit_s = self._cluster.video_timeout_s
        if limit_s is None:
            return
        now = time.monotonic()
        for actor in list(self._actors):
            late = [key for key, began in actor.since.items() if now - began > limit_s]
            if not late:
                continue
            self._dismiss(actor)
            for key, task in actor.hands.items():
                if key in late:
                    reason = f"{task.path}: not through after {limit_s:g} s (--video-timeout)"
                    yield self._work.failure(task, reason)
                else:
                    self._given_back.append(task)
            self._hire()

    def _dismiss(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        self._ray.kill(actor.handle)

    def _say_who_is_awaited(self) -> None:
        waiting = sum(actor.beginning is not None for actor in self._actors)
        if waiting == len(self._actors) and time.monotonic() - self._heard_at > _SAY_AFTER_S:
            console.log.warning(
                "%d actors have not begun yet: the cluster needs a free core%s for each",
                waiting,
                " and a free GPU" if self._cluster.gpus else "",
            )
            self._heard_at = time.monotonic()


def _on_one_line(error: Exception) -> str:
    """What Ray says of a death, which is a page: its first line and the cause."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = [line for line in lines if line.startswith("The actor is dead")]
    return " ".join([*lines[:1], *causes])[:400]
