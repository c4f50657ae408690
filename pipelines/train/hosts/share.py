"""Which part of the batch, and of the validation, is a process's own.

The batch's slots, and with them the videos, are the same whatever the hosts (`WindowSampler`). A slot belongs
to the host that holds its videos, also when a run goes on with its hosts started in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.train.data import RunData, shortened
from pipelines.train.encode import share_by_duration
from pipelines.train.hosts.group import Hosts
from pipelines.train.hosts.holdings import Holdings, listed
from tal.errors import ConfigError
from tal.memory.sampler import TrainingVideo, WindowSampler

_SLOTS_LISTED = 5


@dataclass(frozen=True)
class Share:
    """A process's part of a run.

    Attributes
    ----------
    slots
        its slots of the batch.
    of_host
        those of each process of its host, in order.
    place
        its number among all processes by slots.
    validation
        the videos that it measures.
    """

    slots: tuple[int, ...]
    of_host: tuple[tuple[int, ...], ...]
    place: int
    validation: tuple[TrainingVideo, ...]


def share_of(
    config: RunConfig,
    data: RunData,
    hosts: Hosts,
    holdings: Holdings | None = None,
    missing: Collection[str] = (),
) -> Share:
    """The part of this process.

    Parameters
    ----------
    holdings
        None: there is one host, which holds all.
    missing
        training videos that no host holds, for messages.

    Raises
    ------
    ConfigError
        no host holds all videos of a slot, or hosts hold different numbers of slots, or a host lacks files of
        its training videos.
    """
    share = config.train.batch_size // hosts.processes
    slots = [tuple(range(k * share, (k + 1) * share)) for k in range(hosts.processes)]
    allowed: dict[str, list[int]] | None = None
    if holdings is not None:
        windows = WindowSampler(
            data.train, config.train.batch_size, config.window, config.memory, config.train.seed
        )
        if holdings.rows is not None:
            slots = slots_by_host(
                [[video.id for video in windows.videos_of([slot])] for slot in range(windows.batch_size)],
                holdings.stored,
                hosts.local_processes,
                missing,
            )
        _require_files(config, windows.videos_of(slots[hosts.rank]), hosts)
        allowed = _who_measures(config, data, hosts, holdings)
    firsts = sorted(slots)
    local = hosts.local_processes
    return Share(
        slots=slots[hosts.rank],
        of_host=tuple(slots[hosts.number * local : (hosts.number + 1) * local]),
        place=firsts.index(slots[hosts.rank]),
        validation=tuple(share_by_duration(data.validation, hosts.processes, allowed)[hosts.rank]),
    )


def slots_by_host(
    slots: Sequence[Sequence[str]],
    stored: Sequence[Set[str]],
    processes: int,
    missing: Collection[str] = (),
) -> list[tuple[int, ...]]:
    """The slots of every process, by the videos that its host holds.

    Parameters
    ----------
    slots
        of each slot, its videos.
    stored
        of each host, the videos that it holds.
    processes
        of each host.

    Raises
    ------
    ConfigError
        no host holds all videos of a slot, or hosts hold different numbers of slots.
    """
    holders = [[h for h, held in enumerate(stored) if held >= set(videos)] for videos in slots]
    torn = [slot for slot, hosts in enumerate(holders) if not hosts]
    each = len(slots) // len(stored)
    in_order = [slot // each for slot in range(len(slots))]
    if not torn and not all(host in holders[slot] for slot, host in enumerate(in_order)):
        in_order = [hosts[0] for hosts in holders]
    counts = Counter(in_order)
    if torn or any(counts[host] != each for host in range(len(stored))):
        said = [
            f"slot {slot}: "
            + "; ".join(
                f"{shortened(videos)} on {where}"
                for where, videos in [
                    *((f"host {h}", sorted(set(slots[slot]) & set(held))) for h, held in enumerate(stored)),
                    ("none", sorted(set(slots[slot]).difference(*stored))),
                ]
                if videos
            )
            for slot in torn[:_SLOTS_LISTED]
        ] or [f"host {host} holds {counts[host]} of {len(slots)} slots" for host in range(len(stored))]
        lacking = f"; {len(missing)} training videos are in no store ({listed(missing)})" if missing else ""
        raise ConfigError(
            f"the hosts' stores are not cut by this run's slots: {', '.join(said)}{lacking}. Cut one store "
            "of all videos with `longtal store split`"
        )
    share = each // processes
    own = [[slot for slot, at in enumerate(in_order) if at == host] for host in range(len(stored))]
    return [tuple(of[k * share : (k + 1) * share]) for of in own for k in range(processes)]


def _require_files(config: RunConfig, videos: Sequence[TrainingVideo], hosts: Hosts) -> None:
    """A host decodes its own training videos."""
    with hosts.together():
        without = [video.id for video in videos if config.end_to_end and not video.path]
        if without:
            raise ConfigError(
                f"{config.data.videos} lacks the files of {len(without)} training videos whose rows are here "
                f"({listed(without)})"
            )


def _who_measures(config: RunConfig, data: RunData, hosts: Hosts, holdings: Holdings) -> dict[str, list[int]]:
    """Validation video -> the processes whose host has what it is measured by: its rows, or its file."""
    filed = hosts.exchange({video.id for video in data.validation if video.path})
    allowed: dict[str, list[int]] = {}
    for video in data.validation:
        for process in range(hosts.processes):
            host = process // hosts.local_processes
            by_rows = not config.end_to_end and video.id in holdings.stored[host]
            if by_rows or video.id in filed[host]:
                allowed.setdefault(video.id, []).append(process)
    return allowed
