"""What can be wrong with files: damaged bytes, hostile values, links, pipes, pickles."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz.tally import Attack

NAMES = [
    "", " ", "..", "../../etc/passwd", "/etc/passwd", "../outside/victim", "a\0b", "a\nb", "\ud800",
    "x" * 4096, "\x1b[31m", "\u202e", "c:\\x", "a\\..\\b", "nan", "1e3",
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2, 1 << 31, 1 << 40, 1 << 53, (1 << 63) - 1, 1 << 63, -(1 << 63), 10**400, 0.5, 1e9, 1e308,
    -1e308, float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
OTHERS = [None, True, False, [], {}, [[]], {"a": {"b": 1}}, [1, "a"], ["a", "a"], [None]]
VALUES: SearchStrategy[Any] = st.sampled_from([*NAMES, *NUMBERS, *OTHERS])
PIECES = [
    b"", b"\0", b"\xff", b"[" * 3000, b"{" * 3000, b'{"a":' * 900, b'"', b"\n", b"\t", b"NaN", b"1e999",
    b"9" * 5000, b"\xef\xbb\xbf", b"\xff\xfe", b"-", b"..", b"&a [*a]", b"!!python/object:os.system x",
    b"null", b"}", b"]",
]  # fmt: skip


def damage(file: str) -> SearchStrategy[Attack]:
    """Bytes of a file cut out, doubled, replaced."""

    @st.composite
    def make(draw: Any) -> Attack:
        changes = [
            (draw(st.floats(0, 1)), draw(st.sampled_from([0, 1, 2, 8, 40])), draw(_pieces))
            for _ in range(draw(st.integers(1, 3)))
        ]

        def do(folder: Path) -> None:
            path = folder / file
            content = path.read_bytes()
            for share, length, piece in changes:
                start = int(share * len(content))
                content = content[:start] + piece + content[start + length :]
            path.write_bytes(content)

        return Attack(f"damage {file} {changes!r:.300}", do)

    return make()


_pieces = st.one_of(st.sampled_from(PIECES), st.binary(max_size=8))


def cut(file: str) -> SearchStrategy[Attack]:
    """A file that ends early, or is empty."""

    def make(share: float) -> Attack:
        def do(folder: Path) -> None:
            path = folder / file
            os.truncate(path, int(share * path.stat().st_size))

        return Attack(f"cut {file} at {share:.3f}", do)

    return st.one_of(st.just(0.0), st.floats(0, 1)).map(make)


_DISPLACED = " in place of "


def displace(files: Sequence[str], links: bool = True) -> SearchStrategy[Attack]:
    """Something else in a file's (or folder's) place: nothing, a folder, a pipe, a link, another file."""

    def make(choice: tuple[str, str, str]) -> Attack:
        file, what, other = choice

        def do(folder: Path) -> None:
            path, away = folder / file, folder.parent / "outside" / file
            if os.path.realpath(path.parent) != os.path.abspath(path.parent):
                return  # a link already, behind which this would change what lies outside
            if what == "other" and (folder / other).is_file() and path.is_file():
                if other != file:
                    content = (folder / other).read_bytes()
                    path.unlink()
                    path.write_bytes(content)
                return
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            if what == "folder":
                path.mkdir()
            elif what == "pipe":
                os.mkfifo(path)
            elif what == "link":
                path.symlink_to(away)
            elif what == "loop":
                path.symlink_to(path.name)
            elif what == "file":
                path.write_bytes(b"\0" * 64)

        return Attack(f"{what}{_DISPLACED}{file} ({other})", do)

    kinds = ["nothing", "folder", "pipe", "loop", "file", "other", *(["link", "link"] if links else [])]
    return st.tuples(st.sampled_from(files), st.sampled_from(kinds), st.sampled_from(files)).map(make)


def change_json(file: str, values: SearchStrategy[Any] = VALUES) -> SearchStrategy[Attack]:
    """Some values of a JSON file replaced, left out, or given twice."""

    @st.composite
    def make(draw: Any) -> Attack:
        changes = [
            (
                draw(st.floats(0, 1)),
                draw(st.sampled_from(["set", "set", "set", "drop", "wrap"])),
                draw(values),
            )
            for _ in range(draw(st.integers(1, 3)))
        ]

        def do(folder: Path) -> None:
            document = json.loads((folder / file).read_text())
            for share, kind, value in changes:
                places = list(_places(document))
                if places:
                    container, key = places[int(share * (len(places) - 1))]
                    if kind == "drop":
                        del container[key]
                    else:
                        container[key] = copy.deepcopy(value) if kind == "set" else [container[key]]
            text = json.dumps(document).encode("utf-8", "surrogatepass")
            (folder / file).write_bytes(text)

        return Attack(f"change {file} {changes!r:.300}", do)

    return make()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in parsed JSON."""
    for key in (
        list(value) if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    ):
        yield value, key
        yield from _places(value[key])


def change_numbers(file: str, width: int = 8) -> SearchStrategy[Attack]:
    """Numbers of a binary file replaced by extreme ones."""
    extremes = [b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80", b"\0" * 6 + b"\xf8\x7f"]
    extremes += [b"\0\0\0\0\0\x01\0\0", b"\x05" + b"\0" * 7, b"../../x\n", b"\xc3\x28ab\0def", b"a/../../"]

    def make(choice: tuple[float, bytes]) -> Attack:
        share, number = choice

        def do(folder: Path) -> None:
            path = folder / file
            content = bytearray(path.read_bytes())
            # the first numbers are in use, the tail of a chunk is not
            start = int(share * min(8, len(content) // width)) * width
            content[start : start + width] = number[:width]
            path.write_bytes(content)

        return Attack(f"number {number!r} in {file} at {share:.3f}", do)

    return st.tuples(st.floats(0, 1), st.sampled_from(extremes)).map(make)


def pickle_bomb(run: Path) -> bytes:
    """A pickle whose loading makes the file ``run``."""
    import pickle

    return pickle.dumps(_Bomb(run), protocol=2)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.path, "w")


def several(attacks: SearchStrategy[Attack]) -> SearchStrategy[Attack]:
    """One attack, or two after one another where the second still finds its file."""

    def both(pair: tuple[Attack, Attack]) -> Attack:
        first, second = sorted(pair, key=lambda attack: _DISPLACED in attack.told)

        def do(folder: Path) -> None:
            first.do(folder)
            try:
                second.do(folder)
            except (OSError, ValueError, TypeError):  # the first took its file away
                return

        return Attack(f"{first}; {second}", do)

    return st.one_of(attacks, attacks, st.tuples(attacks, attacks).map(both))
