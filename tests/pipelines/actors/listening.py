"""Which addresses a process and those that it started listen on."""

from __future__ import annotations

import ipaddress
import os
import struct
from pathlib import Path

_LISTEN = "0A"


def processes_below(root: int) -> set[int]:
    """A process and what it started, and they."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                status = (path / "stat").read_text()
            except OSError:  # it has ended
                continue
            parents[int(path.name)] = int(status.rpartition(")")[2].split()[1])
    below = {root}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below


def listening(processes: set[int]) -> set[str]:
    """Addresses on which they wait for connections by TCP."""
    mine = {inode for process in processes for inode in _sockets(process)}
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN and words[9] in mine:
                found.add(_address(words[1].partition(":")[0]))
    return found


def _sockets(process: int) -> list[str]:
    inodes = []
    try:
        for path in Path(f"/proc/{process}/fd").iterdir():
            target = os.readlink(path)
            if target.startswith("socket:["):
                inodes.append(target[8:-1])
    except OSError:  # it has ended
        pass
    return inodes


def _address(text: str) -> str:
    """Hexadecimal words of the machine's byte order -> 127.0.0.1; an IPv4 address in IPv6 as itself."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
