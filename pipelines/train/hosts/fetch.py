"""The first host's checkpoint for the others, which have none of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from pipelines.train.checkpoint import Checkpoint, TrainState
from pipelines.train.hosts.group import Hosts

_PIECE_BYTES = 64 << 20
# what `save_checkpoint` writes, but for state.json
_FILES = ("model.safetensors", "average.safetensors", "optimizer.pt")


@contextmanager
def on_every_host(checkpoint: Checkpoint | None, out: Path, hosts: Hosts) -> Iterator[Checkpoint | None]:
    """A block in which every host has the checkpoint that the first one goes on from; None: there is none.

    The others get it as a folder in their run folder, which goes at the block's end.
    """
    if hosts.count == 1:
        yield checkpoint
        return
    there = checkpoint.path if checkpoint is not None else None
    sizes = {n: (there / n).stat().st_size for n in _FILES if (there / n).is_file()} if there else {}
    said = hosts.first((asdict(checkpoint.state), sizes) if checkpoint is not None else None)
    if said is None:
        yield None
        return
    state, sizes = said
    folder = there or out / "received"
    try:
        if there is None and hosts.leads:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for name in _FILES:
            if name in sizes:
                _pass_on(folder / name, sizes[name], hosts)
        hosts.exchange(None)  # written, before another process of the host reads
        yield Checkpoint(folder, TrainState(**state))
        hosts.exchange(None)
    finally:
        if hosts.number and hosts.leads:
            shutil.rmtree(folder, ignore_errors=True)


def _pass_on(path: Path, size: int, hosts: Hosts) -> None:
    """A file of the first host, of ``size`` bytes, to this path on the others."""
    file: BinaryIO | None = None
    if hosts.rank == 0:
        file = path.open("rb")
    elif hosts.number and hosts.leads:
        file = path.open("wb")
    try:
        for _ in range(0, size, _PIECE_BYTES):
            piece = hosts.first(file.read(_PIECE_BYTES) if file is not None and hosts.rank == 0 else b"")
            if file is not None and hosts.rank:
                file.write(piece)
    finally:
        if file is not None:
            file.close()
