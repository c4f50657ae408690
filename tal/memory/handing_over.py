"""How a loader worker gives its batch to the training process: in shared memory, else through the pipe.

Torch sends tensors in shared memory, of which containers have little (64 MB of /dev/shm). Where there is no
room it loses the batch, and the training process waits for it for ever: so room is asked for before.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import get_worker_info

from tal.memory.clip_loader import Batch, ClipDataset, SampleFrames

_log = logging.getLogger("longtal")


@dataclass(frozen=True)
class PipedBatch:
    """A batch for which a worker had no shared memory, pickled with its pictures."""

    content: bytes


@dataclass(frozen=True)
class Collate:
    """`ClipDataset.collate` for a loader."""

    dataset: ClipDataset

    def __call__(self, decoded: Sequence[SampleFrames]) -> Batch | PipedBatch:
        return hand_over(self.dataset.collate(decoded))


def hand_over(batch: Batch) -> Batch | PipedBatch:
    """The batch as its worker should return it; in the training process itself as it is."""
    if get_worker_info() is None:
        return batch
    try:
        for tensor in _tensors(batch):
            tensor.share_memory_()
    except RuntimeError:  # torch's for a full /dev/shm
        return PipedBatch(pickle.dumps(batch))
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
                len(batch.content) / 1e6,
            )
        opened = pickle.loads(batch.content)  # of this run's own worker
        assert isinstance(opened, Batch)
        return opened


def _tensors(batch: Batch) -> Iterator[Tensor]:
    if batch.clips is not None:
        clips = batch.clips
        yield from (clips.frames, clips.places.sample, clips.places.position, clips.learn)
        if clips.clean is not None:
            yield clips.clean
