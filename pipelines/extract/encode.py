"""The encoder's part of an extraction, as this process or an actor does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from pipelines.actors.work import Message, Round
from pipelines.shared import console
from pipelines.shared.malloc import keep_freed_buffers
from tal.device import choose_device
from tal.encoders import Encoder, EncoderConfig, build_encoder, fastest_batch
from tal.encoders.stream import ClipEncoder, EncodedClip, encode_decoded
from tal.shared.defaults import PrecisionName
from tal.video.pool import Begun, DecodePool, DecodeTask, Finished


@dataclass(frozen=True)
class EncodeVideos:
    """What an actor needs to make the rows that this process would make; `pipelines.actors.Work`.

    Attributes
    ----------
    config, seed
        the encoder.
    device, precision, batch_clips, workers, dtype
        as in `ExtractOptions`, chosen.
    threads
        of torch: sums in another order round differently.
    """

    config: EncoderConfig
    seed: int
    device: str
    precision: PrecisionName
    batch_clips: int
    workers: int
    dtype: Literal["float16", "float32"]
    threads: int

    @property
    def at_once(self) -> int:
        return max(1, self.workers)

    @contextmanager
    def open(self) -> Iterator[Round]:
        torch.set_num_threads(self.threads)
        encoder = build_encoder(self.config, seed=self.seed)
        clips = clip_encoder(encoder, self.device, self.precision, self.batch_clips)
        if clips.device.type == "cpu":
            keep_freed_buffers()
        with DecodePool(encoder.clip_shape, self.workers) as pool:

            def encode(tasks: Iterator[DecodeTask]) -> Iterator[Message]:
                for event in encode_decoded(clips, pool.decode(tasks)):
                    if isinstance(event, EncodedClip):
                        with np.errstate(over="ignore"):  # told by who writes them
                            rows = event.rows.astype(self.dtype)
                        value = EncodedClip(event.key, event.clip, rows)
                        yield Message(event.key, value, size=rows.nbytes)
                    elif not isinstance(event, Begun):
                        yield Message(event.key, event, last=True)

            yield encode

    def failure(self, task: DecodeTask, reason: str) -> Finished:
        return Finished(task.key, error=reason)


def clip_encoder(encoder: Encoder, device: str, precision: str, batch_clips: int) -> ClipEncoder:
    """The encoder on its device; ``batch_clips`` 0: as many at once as are fastest there."""
    where = choose_device(device, apple=True)
    count = batch_clips or fastest_batch(encoder, where, precision)
    if where.type == "cuda":
        console.log.info("%d clips at once, in %s", count, precision)
    return ClipEncoder(encoder, where, count, precision)
