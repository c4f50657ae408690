"""How much memory a stretch of code needs at its peak: what is in use, and what the allocator holds.

The two differ by buffers that were freed and kept. On a CPU glibc keeps many (`pipelines.shared.malloc` says
why), and how many depends on the order of the sizes asked for: what is held says little of what is needed.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path


class PeakMemory:
    """Rise of this process's memory to its peak while the context lasts; on CUDA torch's whole peak.

    Attributes
    ----------
    used_mib
        bytes asked for and not freed: glibc's `mallinfo2` every 10 ms (0 without glibc 2.33), or torch's
        allocated memory on CUDA.
    held_mib
        anonymous pages of the process every 10 ms, or torch's reserved memory on CUDA.
    """

    def __init__(self, device: str) -> None:
        self.device, self.used_mib, self.held_mib = device, 0.0, 0.0
        self._stop = threading.Event()

    def __enter__(self) -> PeakMemory:
        if self.device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
            return self
        self._base = self._most = _now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            used, held = _now()
            self._most = (max(self._most[0], used), max(self._most[1], held))

    def __exit__(self, *_: object) -> None:
        if self.device == "cuda":
            import torch

            self.used_mib = torch.cuda.max_memory_allocated() / 2**20
            self.held_mib = torch.cuda.max_memory_reserved() / 2**20
            return
        self._stop.set()
        self._thread.join()
        self.used_mib, self.held_mib = (
            most - base for most, base in zip(self._most, self._base, strict=True)
        )


# glibc's struct mallinfo2 (malloc.h): of its ten sizes, bytes mapped one by one and bytes in use on the heap
_NUM_SIZES, _MAPPED, _ON_HEAP = 10, 4, 7


class _Mallinfo(ctypes.Structure):
    _fields_ = [("sizes", ctypes.c_size_t * _NUM_SIZES)]


@cache
def _mallinfo2() -> Callable[[], _Mallinfo] | None:
    """glibc's own account; None without glibc 2.33."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is not None:
        function.restype = _Mallinfo
    return function


def _now() -> tuple[float, float]:
    """MiB in use, and held."""
    account = _mallinfo2()
    sizes = account().sizes if account is not None else None
    used = (sizes[_MAPPED] + sizes[_ON_HEAP]) / 2**20 if sizes is not None else 0.0
    return used, resident_mib()["RssAnon"]


def resident_mib() -> dict[str, float]:
    """Anonymous memory (RssAnon) and file pages (RssFile) of this process, as Linux has them."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")}
