"""Hosts that are threads of one process, and what connects them."""

import threading
import time
from dataclasses import dataclass, field

from pipelines.train.hosts import Hosts


class Wire:
    """What connects the hosts; those left notice a death when they can do nothing more without the dead."""

    def __init__(self, hosts):
        self._barrier = threading.Barrier(hosts)
        self._box = [None] * hosts
        self._alive, self._lock = hosts, threading.Lock()

    def gather(self, rank, value):
        self._box[rank] = value
        self._barrier.wait()
        values = list(self._box)
        self._barrier.wait()
        return values

    def leave(self):
        with self._lock:
            self._alive -= 1
        while self._barrier.n_waiting < self._alive and not self._barrier.broken:
            time.sleep(0.001)
        if self._alive:
            self._barrier.abort()


@dataclass(frozen=True)
class WiredHosts(Hosts):
    wire: Wire = field(default=None)

    def _gather(self, value):
        return self.wire.gather(self.rank, value)

    def first(self, value):
        return self._gather(value)[0]


def on_threads(count, work, *more):
    """``work(hosts, *more)`` of each host on a thread; what each gave, or the error that ended it."""
    wire, results = Wire(count), [None] * count

    def one(rank):
        try:
            results[rank] = work(WiredHosts(rank, count, wire=wire), *more)
        except BaseException as error:  # noqa: BLE001 - of a thread: the caller judges it
            results[rank] = error
            wire.leave()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
