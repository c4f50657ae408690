"""A disk that can lose power: records what a store does to its files and replays it, cut anywhere."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featstore import FeatureSpec, FeatureStore
from featstore.files import FileOps
from featstore.layout import LEDGER

SMALL = FeatureSpec("test", "none", channels=4, clip_frames=4, frame_stride=1, dtype="float32", fps=4.0)


def state(store: FeatureStore) -> str:
    """Hash of the features, the ledger and the video table that the store shows."""
    digest = hashlib.sha256()
    with store._guard:
        store._refresh()
        records = store._table.records
        total = int((records["first_row"] + records["reserved_rows"]).max(initial=0))
        rows = np.empty((total, store.spec.channels), store.spec.numpy_dtype)
        if total:
            store._rows_into(0, total, rows)
        digest.update(rows.tobytes())
        for name in LEDGER.names:
            digest.update(store._ledger_column(name, 0, total).tobytes())
        digest.update(records.tobytes())
        digest.update("\n".join(store._table.ids).encode())
    return digest.hexdigest()


class RecordingOps(FileOps):
    """Does what it is told, and notes it."""

    def __init__(self, root: Path) -> None:
        self.root, self.events, self._paths = root, [], {}

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.root)

    def open(self, path: Path, create: bool = False) -> int:
        new = create and not path.exists()
        fd = super().open(path, create)
        if new:
            self.events.append(("create", self._name(path)))
        self._paths[fd] = self._name(path)
        return fd

    def pwrite(self, fd: int, data: Any, offset: int) -> None:
        super().pwrite(fd, data, offset)
        copy = data.tobytes() if isinstance(data, np.ndarray) else bytes(data)
        self.events.append(("write", self._paths[fd], offset, copy))

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        self.events.append(("truncate", self._paths[fd], size))

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.events.append(("sync", self._paths[fd]))

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.events.append(("rename", self._name(source), self._name(target)))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.events.append(("unlink", self._name(path)))

    def mkdir(self, path: Path) -> None:
        new = []
        at = path
        while not at.exists():
            new.append(at)
            at = at.parent
        super().mkdir(path)
        self.events.extend(("mkdir", self._name(p)) for p in reversed(new))

    def sync_dir(self, path: Path) -> None:
        super().sync_dir(path)
        self.events.append(("sync_dir", self._name(path)))


@dataclass
class _File:
    size: int = 0
    pieces: list[tuple[int, bytes]] = field(default_factory=list)  # durable writes, in order
    pending: list[tuple[Any, ...]] = field(
        default_factory=list
    )  # ("write", offset, data) or ("truncate", size)

    def settle(self, changes: list[tuple[Any, ...]]) -> None:
        for change in changes:
            if change[0] == "truncate":
                size = change[1]
                self.pieces = [(o, d[: size - o]) for o, d in self.pieces if o < size]
                self.size = size
            else:
                self.pieces.append((change[1], change[2]))
                self.size = max(self.size, change[1] + len(change[2]))


class Disk:
    """Files and folders as far as they are durable, and what is on its way."""

    def __init__(self, root: Path) -> None:
        self.names: dict[str, _File | None] = {}  # durable; None: a folder
        for path in root.rglob("*"):
            name = os.path.relpath(path, root)
            if path.is_dir():
                self.names[name] = None
            else:
                self.names[name] = _File(path.stat().st_size, [(0, path.read_bytes())])
        self.live = dict(self.names)
        self.pending: list[tuple[Any, ...]] = []  # changes of names

    def play(self, event: tuple[Any, ...]) -> None:
        kind, name = event[0], event[1]
        if kind in ("write", "truncate"):
            self.live[name].pending.append((kind, *event[2:]))
        elif kind == "sync":
            file = self.live[name]
            file.settle(file.pending)
            file.pending.clear()
        elif kind == "sync_dir":
            here = [e for e in self.pending if os.path.dirname(e[1]) == ("" if name == "." else name)]
            for change in here:
                self._name(self.names, change)
            self.pending = [e for e in self.pending if e not in here]
        else:
            if kind == "create":
                event = ("create", name, _File())
            elif kind == "rename":
                event = ("rename", event[2], name, self.live[name])
            self._name(self.live, event)
            self.pending.append(event)

    @staticmethod
    def _name(names: dict[str, _File | None], change: tuple[Any, ...]) -> None:
        kind, name = change[0], change[1]
        if kind == "create":
            names[name] = change[2]
        elif kind == "mkdir":
            names[name] = None
        elif kind == "unlink":
            names.pop(name, None)
        else:
            names[name] = change[3]
            names.pop(change[2], None)

    def lose_power(self, folder: Path, rng: random.Random, keep: float) -> None:
        """Write what is left: all that is durable, and of the rest each change with probability `keep`,
        writes of one file in any order, a write perhaps in part."""
        names = dict(self.names)
        for change in self.pending:
            if rng.random() < keep:
                self._name(names, change)
        for name, file in sorted(names.items(), key=lambda item: item[0]):
            path = folder / name
            if file is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            if not path.parent.is_dir():
                continue  # a file in a folder whose own name was lost
            left = _File(file.size, list(file.pieces))
            late = [c for c in file.pending if rng.random() < keep]
            rng.shuffle(late)
            for change in late:
                if change[0] == "write" and rng.random() < 0.3:
                    change = ("write", change[1], change[2][: rng.randrange(len(change[2]) + 1)])
                left.settle([change])
            with open(path, "wb") as out:
                for offset, data in left.pieces:
                    out.seek(offset)
                    out.write(data)
                out.truncate(left.size)


def small_history(store: FeatureStore, rng: random.Random, commits: int) -> dict[int, str]:
    """Random changes and commits; the state after each commit, by generation."""
    states = {store.generation: state(store)}
    step, made = 0, 0
    for _ in range(commits):
        for _ in range(rng.randrange(1, 8)):
            step += 1
            random_change(store, rng, step, made)
            made += 1
        generation = store.commit()
        states[generation] = state(store)
    return states


def random_change(store: FeatureStore, rng: random.Random, step: int, number: int) -> None:
    """One change: mostly writes, at times a new, complete, failed or removed video."""
    videos = store.ids("reserved") + store.ids("complete")
    choice = rng.random()
    if choice < 0.2 or not videos:
        count = rng.randrange(1, 12)
        times = np.sort(np.array([rng.uniform(0, 9) for _ in range(count)])) if rng.random() < 0.3 else None
        store.add_video(f"vidéo {number}", num_rows=count, fps=4.0, row_times_s=times)
    elif choice < 0.35 and store.ids("reserved"):
        store.complete(rng.choice(store.ids("reserved")))
    elif choice < 0.4:
        store.fail(rng.choice(videos), "unreadable")
    elif choice < 0.45:
        store.remove(rng.choice(videos))
    else:
        video = store.video(rng.choice(videos))
        start = rng.randrange(video.num_rows)
        count = rng.randrange(1, video.num_rows - start + 1)
        values = np.array([[rng.gauss(0, 1) for _ in range(4)] for _ in range(count)], np.float32)
        store.write(video.id, start, values, step)
