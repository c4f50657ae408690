"""How a loader worker gives its batch to the training process: in shared memory, else through the pipe.

Torch sends tensors in shared memory, of which containers have little (64 MB of /dev/shm). Where there is no
room it loses the batch, and the training process waits for it for ever: so room is asked for before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from tal.memory.clip_loader import Batch, ClipDataset, SampleFrames
from tal.memory.mixing import ClipPlaces
from tal.memory.network import ClipFrames

_log = logging.getLogger("longtal")


@dataclass(frozen=True)
class PipedBatch:
    """A batch for which a worker had no shared memory.

    As numpy arrays its tensors go through the loader's pipe. ``rest``: the batch without its clips;
    ``arrays``: those of the clips, in the order of `_tensors`.
    """

    rest: Batch
    arrays: tuple[NDArray, ...]

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True)
class Collate:
    """`ClipDataset.collate` for a loader."""

    dataset: ClipDataset

    def __call__(self, decoded: Sequence[SampleFrames]) -> Batch | PipedBatch:
        return hand_over(self.dataset.collate(decoded))


def hand_over(batch: Batch) -> Batch | PipedBatch:
    """The batch as its worker should return it; in the training process itself as it is."""
    if get_worker_info() is None or batch.clips is None:
        return batch
    tensors = _tensors(batch.clips)
    try:
        for tensor in tensors:
            tensor.share_memory_()
    except RuntimeError:  # torch's for a full /dev/shm
        return PipedBatch(replace(batch, clips=None), tuple(tensor.numpy() for tensor in tensors))
    return batch


class Receiver:
    """The training process's side; says once that batches come the slow way."""

    def __init__(self) -> None:
        self._said = False

    def take(self, batch: Batch | PipedBatch) -> Batch:
        """What the worker decoded."""
        if isinstance(batch, Batch):
            return batch
        if not self._said:
            self._said = True
            _log.warning(
                "no shared memory for a batch of %.1f MB: loader workers send it through a pipe, which is "
                "slower; lower train.workers, or give the container more (docker run --shm-size=1g)",
                batch.num_bytes / 1e6,
            )
        frames, sample, position, learn, *clean = map(torch.from_numpy, batch.arrays)
        clips = ClipFrames(frames, ClipPlaces(sample, position), learn, clean[0] if clean else None)
        return replace(batch.rest, clips=clips)


def _tensors(clips: ClipFrames) -> list[Tensor]:
    """All tensors of clips; the clean pictures, where there are some, come last."""
    tensors = [clips.frames, clips.places.sample, clips.places.position, clips.learn]
    return tensors if clips.clean is None else [*tensors, clips.clean]
