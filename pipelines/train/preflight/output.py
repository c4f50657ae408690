"""Whether the run's folder can be written, and whether its disk has room."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from featstore import FeatureStore
from featstore.files import FileOps
from featstore.layout import LEDGER
from pipelines.config import RunConfig
from pipelines.train.checkpoint import KEEP
from pipelines.train.findings import Findings
from pipelines.train.stores import writes_memory
from tal.errors import OutputError
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import TrainingVideo
from tal.shared.files import require_folder

# Folders that a run makes in its own.
_FOLDERS = ("memory.zarr", "checkpoints", "validation", "models", "model", "tensorboard", "ages")
# Moments that an optimizer keeps of each number that learns.
_MOMENTS = {"adamw": 2, "adam": 2, "sgd": 1}
# Logs, predictions and rows written since the last commit are not foreseen: with less room than this, a word.
_COMFORT = 1.5


def check_output(out: Path, findings: Findings) -> None:
    """The folder of a run can be made and written: it is tried."""
    with findings.collected():
        require_folder(out)
        for name in _FOLDERS:
            if (out / name).exists() and not (out / name).is_dir():
                raise OutputError(f"{out / name} is a file where the run needs a folder: move it away")
        place = _existing(out)
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            raise OutputError(
                f"{out} cannot be written: {place}: {error.strerror or error}; give another --out"
            ) from error


@dataclass(frozen=True)
class Need:
    """Room that something will take: how many bytes, below which folder."""

    what: str
    num_bytes: int
    folder: Path


def check_disk(needs: Iterable[Need], findings: Findings) -> None:
    """Every disk has room for what will be written on it."""
    disks: dict[int, list[Need]] = {}
    for need in needs:
        if need.num_bytes:
            disks.setdefault(os.stat(_existing(need.folder)).st_dev, []).append(need)
    for on_disk in disks.values():
        needed, place = sum(need.num_bytes for need in on_disk), _existing(on_disk[-1].folder)
        free = shutil.disk_usage(place).free
        parts = ", ".join(f"{_size(need.num_bytes)} {need.what}" for need in on_disk)
        said = f"this run needs {_size(needed)} ({parts}), {place} has {_size(free)} free"
        if free < needed:
            with findings.collected():
                raise OutputError(f"{said}: make room, give another --out, or lower train.keep_best")
        elif free < _COMFORT * needed:
            findings.warn(f"{said}: little more than that")


def run_needs(
    config: RunConfig, out: Path, network: MemoryNetwork, store: FeatureStore | None, begun: bool
) -> list[Need]:
    """What a run writes: its copy of the store, checkpoints, models.

    ``begun``: the run goes on; what is there already is not written again.
    """
    weights = _num_bytes(network.trained(network.state_dict()).values())
    learning = _num_bytes(p for p in network.parameters() if p.requires_grad)
    checkpoint = weights + _MOMENTS[config.optim.name] * learning
    checkpoint += weights if config.train.ema_decay else 0
    checkpoints = 1 if begun else KEEP + 1  # the oldest goes when the next is written
    # the best, the one that is being written, and RUN/model
    models = 1 if begun else max(1, config.train.keep_best) + 2
    needs = [
        Need(f"for {checkpoints} checkpoints", checkpoints * checkpoint, out),
        Need(f"for {models} models", models * _num_bytes(network.exported().values()), out),
    ]
    copies = writes_memory(config) and not config.memory.in_place and not begun
    if copies and store is not None and not _shares_blocks(store, out):
        needs.append(Need(f"for a copy of {store.path.name}", _disk_bytes(store.path), out))
    return needs


def extraction_needs(
    config: RunConfig, videos: Iterable[TrainingVideo], channels: int, out: Path
) -> list[Need]:
    """What the rows of videos will take, as far as their lengths are known; and the run's copy of them."""
    rows = sum(video.num_rows for video in videos)
    num_bytes = rows * (channels * 2 + LEDGER.itemsize)
    needs = [Need(f"for {rows} rows of features", num_bytes, Path(config.data.store))]
    if writes_memory(config) and not config.memory.in_place:
        needs.append(Need("for the run's copy of them", num_bytes, out))
    return needs


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    place = folder.absolute()
    while not place.is_dir():
        place = place.parent
    return place


def _shares_blocks(store: FeatureStore, out: Path) -> bool:
    """Whether a copy of the store takes no room, since the file system shares the blocks of both."""
    source = next((p for p in store.path.rglob("zarr.json")), None)
    if source is None:
        return False
    try:
        with source.open("rb") as origin, tempfile.TemporaryFile(dir=_existing(out)) as copy:
            return FileOps().clone(origin.fileno(), copy.fileno())
    except OSError:  # the folder cannot be written, which `check_output` says
        return False


def _disk_bytes(folder: Path) -> int:
    """What the files of a folder take on their disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _num_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
