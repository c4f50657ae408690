"""Decode and encode at once: workers fill clips, the encoder takes batches of clips across videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tal.device import AtOnce
from tal.encoders.base import Encoder
from tal.encoders.streaming import infer_clips
from tal.video.pool import Begun, Decoded, DecodeTask, Event, Finished, decode_all


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """Rows of one clip, float32 [R, C]; those behind the end of the video are still among them."""

    key: str
    clip: int
    rows: NDArray[np.float32]


@dataclass(slots=True)
class _Batch:
    """A batch on its way.

    ``frames`` uint8 [B, L_c, crop, crop, 3] on the host; ``places``: video and clip of each; ``rows`` once
    they are launched.
    """

    frames: torch.Tensor
    places: list[tuple[str, int]]
    rows: torch.Tensor | None = None
    done: torch.cuda.Event | None = None


class ClipEncoder:
    """Collects clips into batches of a fixed size and encodes them; on CUDA the next batch fills meanwhile.

    The batch size never changes, the last batch is filled up with black clips: kernels may round differently
    for another size, and a resumed extraction must give the same bits. Only where a batch does not fit in the
    device's memory it goes through in halves from then on, which is said: better than a run that is lost.

    Attributes
    ----------
    late
        rows are read one batch later, once the device says that they have arrived: so on CUDA. Else at once.
    """

    def __init__(self, encoder: Encoder, device: torch.device, batch_clips: int, precision: str) -> None:
        self.encoder = encoder.to(device).eval()
        self.device = device
        self.precision = precision
        self._at_once = AtOnce(batch_clips, "clips")
        shape = (batch_clips, *encoder.clip_shape.shape)
        self.late = self._pinned = device.type == "cuda"
        self._idle = [
            _Batch(torch.zeros(shape, dtype=torch.uint8, pin_memory=self._pinned), []) for _ in range(2)
        ]
        self._filling = self._idle.pop()
        self._flying: _Batch | None = None

    def add(self, key: str, clip: int, pictures: NDArray[np.uint8]) -> Iterator[EncodedClip]:
        batch = self._filling
        batch.frames[len(batch.places)].numpy()[...] = pictures
        batch.places.append((key, clip))
        if len(batch.places) == len(batch.frames):
            yield from self._launch()

    def flush(self) -> Iterator[EncodedClip]:
        """Encode what is left and give all rows that are out."""
        if self._filling.places:
            self._filling.frames[len(self._filling.places) :] = 0
            yield from self._launch()
        yield from self._land()

    def _launch(self) -> Iterator[EncodedClip]:
        batch = self._filling
        rows = self._rows(batch.frames)
        if self.late:
            batch.rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=self._pinned)
            batch.rows.copy_(rows, non_blocking=True)
            batch.done = torch.cuda.Event()
            # not the default, which is a stream of the current device, perhaps another one
            batch.done.record(torch.cuda.current_stream(self.device))
        else:
            batch.rows = rows.cpu()
        # this batch is queued: the device works on it while the one before lands and gives its buffer back
        yield from self._land()
        self._filling = self._idle.pop()
        self._flying = batch
        if not self.late:
            yield from self._land()

    def _rows(self, frames: torch.Tensor) -> torch.Tensor:
        """[B, R, C] on the device."""
        parts = self._at_once.run(
            len(frames),
            lambda part: infer_clips(self.encoder, frames[part], self.device, self.precision),
        )
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _land(self) -> Iterator[EncodedClip]:
        batch, self._flying = self._flying, None
        if batch is None:
            # the first batch is still under way: the second buffer is the one being filled
            return
        if batch.done is not None:
            batch.done.synchronize()
        assert batch.rows is not None
        values = batch.rows.numpy()
        for place, (key, clip) in enumerate(batch.places):
            yield EncodedClip(key, clip, values[place])
        batch.places, batch.rows, batch.done = [], None, None
        self._idle.append(batch)


def encode_stream(
    clips: ClipEncoder, tasks: Iterable[DecodeTask], workers: int
) -> Generator[Begun | EncodedClip | Finished, None, None]:
    """Rows of many videos as they come, each video's begin before and its end after all its rows."""
    return encode_decoded(clips, decode_all(tasks, clips.encoder.clip_shape, workers))


def encode_decoded(
    clips: ClipEncoder, events: Iterable[Event]
) -> Generator[Begun | EncodedClip | Finished, None, None]:
    """`encode_stream` of what a pool of one's own decodes (`DecodePool.decode`)."""
    pending: Counter[str] = Counter()
    ended: dict[str, Finished] = {}

    def landed(rows: Iterable[EncodedClip]) -> Iterator[EncodedClip | Finished]:
        for encoded in rows:
            yield encoded
            pending[encoded.key] -= 1
            if not pending[encoded.key] and encoded.key in ended:
                yield ended.pop(encoded.key)

    for event in events:
        if isinstance(event, Decoded):
            pending[event.key] += 1
            yield from landed(clips.add(event.key, event.clip, event.pictures))
        elif isinstance(event, Finished) and pending[event.key]:
            ended[event.key] = event
        else:
            yield event
    yield from landed(clips.flush())
