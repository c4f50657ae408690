"""What is wrong before a run begins, collected so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipelines.shared.console import log
from tal.errors import LongtalError

_LISTED = 20


class NotReadyError(LongtalError, ValueError):
    """A run that cannot begin, for several reasons; ``problems`` has the error of each."""

    def __init__(self, problems: Sequence[LongtalError]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"  {number}. {problem}" for number, problem in enumerate(self.problems[:_LISTED], 1)]
        if count > _LISTED:
            lines.append(f"  … and {count - _LISTED} more")
        self._lines = (f"{count} things keep this run from its first step:", *lines)
        super().__init__("\n".join(self._lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """A line of its own for each problem."""
        return self._lines


class Findings:
    """Problems, which keep a run from beginning, and warnings, which do not."""

    def __init__(self) -> None:
        self._problems: list[LongtalError] = []
        self._warnings: list[str] = []

    @contextmanager
    def collected(self, only_warn: bool = False) -> Iterator[None]:
        """A block whose error is a problem (``only_warn``: a warning) and does not leave the block."""
        try:
            yield
        except NotReadyError as error:
            self._add(error.problems, only_warn)
        except LongtalError as error:
            self._add([error], only_warn)

    def _add(self, errors: Sequence[LongtalError], only_warn: bool) -> None:
        if only_warn:
            self._warnings += map(str, errors)
            return
        said = set(map(str, self._problems))  # two checks may meet the same fault
        self._problems += [error for error in errors if str(error) not in said]

    def warn(self, text: str) -> None:
        self._warnings.append(text)

    def settle(self) -> None:
        """Log the warnings, raise the problems.

        Raises
        ------
        LongtalError
            the only problem, as it was raised; of several, a NotReadyError that lists all.
        """
        for text in self._warnings:
            log.warning("%s", text)
        self._warnings.clear()
        if len(self._problems) == 1:
            raise self._problems[0]
        if self._problems:
            raise NotReadyError(self._problems)
