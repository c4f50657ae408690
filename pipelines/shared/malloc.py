"""A setting of the C library: it keeps the big buffers that a network on a CPU frees and needs again.

glibc gives each buffer above 32 MiB pages fresh from the kernel and hands them back when it is freed, so that
every layer of every batch pays a page fault and a zeroing for each 4 KiB it writes: two fifths of the
processor time of an image encoder at 112 pixels. Kept on the heap, the same pages are used again. Results are
the same bits; the process holds what it needed at its peak until it ends, so this is for processes whose
batches are all alike (extraction, prediction), not for training, whose shapes change.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_BUFFER_BYTES = 1 << 30
_FREE_BYTES = (1 << 31) - 1  # mallopt takes a C int


def keep_freed_buffers() -> bool:
    """Keep buffers of up to 1 GiB in this process, and up to 2 GiB of free memory; True when it was done.

    glibc alone has the switch; elsewhere (musl, macOS, Windows) nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):  # musl has none, and its mallopt may be a stub
        return False
    # before glibc 2.35 the threshold could not pass 32 MiB: then no buffer comes from the kernel directly
    kept = library.mallopt(_M_MMAP_THRESHOLD, _BUFFER_BYTES) or library.mallopt(_M_MMAP_MAX, 0)
    return bool(kept and library.mallopt(_M_TRIM_THRESHOLD, _FREE_BYTES))
