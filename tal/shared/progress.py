"""A line of progress for people who call the library in a notebook or a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_EVERY_S = 0.2


def is_interactive() -> bool:
    """Whether somebody looks on: stderr is a terminal's, or a notebook's."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


class ProgressLine:
    """``name: done of total, rate, time left``, written over itself on stderr; to be called and closed."""

    def __init__(self, name: str, unit: str, stream: TextIO | None = None) -> None:
        self._name = "".join(c for c in name if c.isprintable())[:40]
        self._unit = unit
        self._stream = sys.stderr if stream is None else stream
        self._began, self._shown, self._length = time.monotonic(), float("-inf"), 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._shown < _EVERY_S:
            return
        self._shown, spent = now, now - self._began
        text = f"{self._name}: {done:,} of {total:,} {self._unit}"
        if done and spent > 0:
            text += f", {done / spent:.0f} a second"
            text += f", {(total - done) * spent / done:.0f} s left" if done < total else f", {spent:.0f} s"
        self._write(text)

    def close(self) -> None:
        """End the line, where there is one."""
        if self._length:
            self._stream.write("\n")
            self._stream.flush()
            self._length = 0

    def _write(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)
