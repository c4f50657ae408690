"""What the host waits for on CUDA, as torch's own debug mode tells it."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).resolve().parents[2]
_SAID = "called a synchronizing CUDA operation"


@contextmanager
def counted_waits(on_cuda: bool) -> Iterator[Counter[str]]:
    """A block whose waits are counted: file and line of the project, the innermost -> times.

    Not seen are waits for an event, which the debug mode does not tell.
    """
    waits: Counter[str] = Counter()

    def note(message: Any, *_: Any, **__: Any) -> None:
        if _SAID in str(message):
            waits[_place()] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note  # called where the warning is made: the stack is that of the wait
        if on_cuda:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            if on_cuda:
                torch.cuda.set_sync_debug_mode("default")


def _place() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if _ROOT in path.parents and not path.is_relative_to(_ROOT / ".venv") and path != Path(__file__):
            return f"{path.relative_to(_ROOT)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"
