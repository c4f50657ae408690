"""How many cores this process may use, which can be fewer than the machine has."""

from __future__ import annotations

import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores of the process's affinity (`taskset`, a batch system), within its group's quota (a container)."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota(_GROUPS, _MEMBERSHIP)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _quota(groups: Path, membership: Path) -> float | None:
    """The smallest quota, in cores, of the control groups (version 1 or 2) of this process; None: no quota.

    A container often sees its own group as the root, whatever ``membership`` says: both places are looked at.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # not Linux
        return None
    quotas = []
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0":
            root, read = groups, _read_v2
        elif "cpu" in controllers.split(","):
            root, read = groups / controllers, _read_v1
        else:
            continue
        inside = root / group.lstrip("/")
        places = [inside, *inside.parents]
        quotas += [read(place) for place in places[: places.index(root) + 1]]
    return min((quota for quota in quotas if quota is not None), default=None)


def _read_v2(group: Path) -> float | None:
    """``cpu.max``: "200000 100000" are two cores, "max 100000" is no quota."""
    words = _read(group / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _read_v1(group: Path) -> float | None:
    quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # the root of version 2 has none
        return ""
