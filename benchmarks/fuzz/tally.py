"""One target of the fuzzing: how an input is tried, what is watched meanwhile, what is counted."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from featstore.errors import LongtalError

# Beyond what the process has at the start: what an input of kilobytes may take.
_MEMORY_BYTES = 4 << 30
_LONGEST_S = 20
_SYSTEM = ("/usr", "/lib", "/proc", "/sys", "/dev/null", "/dev/urandom", "/etc/mime.types", "/etc/localtime")


@dataclass(frozen=True)
class Attack:
    """What is done to a folder of sound files; ``told`` says it, for those who want to see it again."""

    told: str
    do: Callable[[Path], None]

    def __repr__(self) -> str:
        return self.told


@dataclass(frozen=True)
class Target:
    """Something that reads files.

    Attributes
    ----------
    name
        for the table.
    make
        writes sound files into an empty folder.
    attacks
        what may be done to them.
    attempt
        reads a folder in every way there is.
    """

    name: str
    make: Callable[[Path], None]
    attacks: SearchStrategy[Attack]
    attempt: Callable[[Path], None]


@dataclass
class Tally:
    """What came of the inputs of a target.

    Attributes
    ----------
    refused
        ended with a `LongtalError`, whose message has a reason.
    crashes, outside
        inputs that ended otherwise, or made the process touch a file outside the folder; with what happened.
    """

    target: str
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    crashes: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    longest_s: float = 0.0


class _Watch:
    """Which files the process opens, removes or renames outside the folders that it may."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event not in ("open", "os.remove", "os.rename", "os.truncate", "os.rmdir", "os.mkdir"):
            return
        resolves = event == "open" and not (isinstance(arguments[2], int) and arguments[2] & os.O_NOFOLLOW)
        for name in arguments[: 2 if event == "os.rename" else 1]:
            if isinstance(name, str | bytes | os.PathLike):
                given = os.fsdecode(name).replace("\0", "")
                folder, last = os.path.split(os.path.abspath(given))
                place = os.path.realpath(given) if resolves else f"{os.path.realpath(folder)}/{last}"
                if not place.startswith(self.allowed) and not place.endswith((".py", ".pyc")):
                    self.seen.append(f"{event} {place}")

    @contextlib.contextmanager
    def inside(self, *folders: Path) -> Iterator[list[str]]:
        own = [os.path.realpath(folder) for folder in folders]
        python = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
        repository = str(Path(__file__).resolve().parents[2])
        self.seen = []
        self.allowed = (*own, *map(os.path.realpath, python), repository, *_SYSTEM)
        try:
            yield self.seen
        finally:
            self.allowed = None


_watch: _Watch | None = None


class TooLong(Exception):
    """An input has kept its reader for longer than any may."""


def _ring(*_: object) -> None:
    raise TooLong(f"no answer after {_LONGEST_S} s")


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Little memory beyond what the process has, and an alarm."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY_BYTES, before[1]))
    handler = signal.signal(signal.SIGALRM, _ring)
    signal.alarm(_LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def run(target: Target, examples: int) -> Tally:
    """Try so many inputs; the same ones every time.

    Each is the target's sound files with an attack on them. Beside the folder lie copies of the files, to
    which links lead: a reader that follows one finds what it wants, and is seen.
    """
    global _watch
    _watch = _watch or _Watch()
    tally = Tally(target.name)
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as place:
        root = Path(place)
        sound, outside, work = root / "sound", root / "outside", root / "work"
        sound.mkdir()
        target.make(sound)
        shutil.copytree(sound, outside)
        shutil.copytree(sound, work)
        target.attempt(work)  # sound files are taken, or the figures would say nothing
        before = _contents(outside)

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(target.attacks)
        def attempt(attack: Attack) -> None:
            shutil.rmtree(work)
            shutil.copytree(sound, work)
            attack.do(work)
            _try(target, attack, work, tally)
            if _contents(outside) != before or (root / "ran").exists():
                tally.outside.append(f"{attack}: files outside were changed")
                (root / "ran").unlink(missing_ok=True)
                shutil.rmtree(outside)
                shutil.copytree(sound, outside)

        attempt()
    return tally


def _try(target: Target, attack: Attack, work: Path, tally: Tally) -> None:
    assert _watch is not None
    tally.inputs += 1
    begun = time.perf_counter()
    with _watch.inside(work) as seen:
        try:
            with _bounded():
                target.attempt(work)
            tally.accepted += 1
        except LongtalError as error:
            if str(error).strip():
                tally.refused += 1
            else:
                tally.crashes.append(f"{attack}: {type(error).__name__} without a message")
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            tally.crashes.append(f"{attack}: {type(error).__name__}: {error!s:.200}")
        outside = list(seen)
    if outside:
        tally.outside.append(f"{attack}: {outside[0]}")
    tally.longest_s = max(tally.longest_s, time.perf_counter() - begun)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _fast_folder() -> str | None:
    """In memory, where there is such a place: stores wait for the disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
