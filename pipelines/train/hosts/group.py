"""The hosts that train one run together: who is who, and what they tell each other.

torchrun and accelerate start as many processes on each host and say so in the environment. A host is known by
its number, its first process leads it: that one looks after the host's run folder and store.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from accelerate.utils import broadcast_object_list, gather_object

from pipelines.shared.files import write_text
from tal.errors import ConfigError, LongtalError

_T = TypeVar("_T")

# Processes wait for the one that validates the longest videos, and for the first of a host while it copies
# the store or brings a commit into it. torch's limit for GPUs, ten minutes, would end healthy runs. What dies
# is noticed by its closed connections, not by this.
PATIENCE = timedelta(days=7)


class HostError(LongtalError, RuntimeError):
    """What keeps another host from going on, said here too: this one would wait for it."""


@dataclass(frozen=True)
class Hosts:
    """This process's place among those of a run, as many on each host.

    Attributes
    ----------
    rank, processes
        its number among all processes, and how many there are.
    local_rank, local_processes
        the same on this host.
    """

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    local_processes: int = 1

    @classmethod
    def here(cls) -> Hosts:
        """As torchrun and accelerate say; without them one process.

        Raises
        ------
        ConfigError
            the hosts have different numbers of processes.
        """
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        rank = int(os.environ.get("RANK", "0"))
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
        local_rank = int(os.environ.get("LOCAL_RANK", str(rank)))
        if processes % local or rank % local != local_rank:
            raise ConfigError(
                f"process {rank} of {processes} is number {local_rank} of {local} on its host: start as many "
                "on each host (torchrun --nproc-per-node)"
            )
        return cls(rank, processes, local_rank, local)

    @property
    def count(self) -> int:
        """How many hosts there are."""
        return self.processes // self.local_processes

    @property
    def number(self) -> int:
        """Of this host, from 0 on."""
        return self.rank // self.local_processes

    @property
    def leads(self) -> bool:
        """Whether this is the host's first process."""
        return self.local_rank == 0

    def exchange(self, value: _T) -> list[_T]:
        """What the first process of each host gave, by number of the host. All processes call it."""
        return self._gather(value if self.leads else None)[:: self.local_processes]  # type: ignore[return-value]

    def _gather(self, value: _T) -> list[_T]:
        """What every process gave, by rank."""
        return gather_object([value]) if self.processes > 1 else [value]

    def first(self, value: _T) -> _T:
        """What the very first process gave. All processes call it."""
        return broadcast_object_list([value])[0] if self.processes > 1 else value

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all hosts leave, or none: an error of one is raised on all.

        Raises
        ------
        LongtalError
            this process's own.
        HostError
            another's.
        """
        failure: LongtalError | None = None
        try:
            yield
        except LongtalError as error:
            failure = error
        if self.count > 1:
            said = f"host {self.number}: {failure}" if failure else ""
            others = [text for text in self._gather(said) if text]
            if others and failure is None:
                raise HostError(others[0])
        if failure is not None:
            raise failure


def require_own_folder(out: Path, hosts: Hosts) -> None:
    """Raise ConfigError where two hosts have one run folder: each keeps its memory in its own."""
    if hosts.count == 1:
        return
    token, place = secrets.token_hex(8), out / ".host"
    with hosts.together():
        if hosts.leads:
            write_text(place, token, overwrite=True)
    with hosts.together():
        if hosts.leads and place.read_text() != token:
            raise ConfigError(
                f"{out} is the folder of two hosts, which cannot share a memory: give a folder on a disk of "
                "its own to each (--out)"
            )
    if hosts.leads:
        place.unlink(missing_ok=True)


def common_start(begun: bool, out: Path, hosts: Hosts) -> bool:
    """Whether the run has begun: whether the first host, where checkpoints are written, has some.

    Raises
    ------
    ConfigError
        another host has them, or one has the memory of a run that has not begun.
    """
    if hosts.count == 1:
        return begun
    said: list[Any] = hosts.exchange((begun, (out / "memory.zarr").exists(), str(out)))
    for number, (has_checkpoints, has_memory, folder) in enumerate(said[1:], 1):
        if has_checkpoints and not said[0][0]:
            raise ConfigError(
                f"the checkpoints of the run are in {folder} of host {number}: start that host as the first "
                "(torchrun --node-rank 0)"
            )
        if has_memory and not said[0][0]:
            raise ConfigError(
                f"{folder} of host {number} holds the memory of a run that the first host does not know: "
                "remove it, or give another --out"
            )
    return bool(said[0][0])
