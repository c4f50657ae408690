"""What CUDA does with batches in flight, acted out on the CPU: rows arrive when their event is waited for."""

from __future__ import annotations

import pytest
import torch

from tal.encoders import stream
from tal.encoders.stream import ClipEncoder
from tal.encoders.streaming import infer_clips

_CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


class Flight:
    """Stands for the events of a `ClipEncoder`: until `synchronize` rows are NaN, as memory that the copy has
    not reached yet; pictures must not change either, for the device may still read them.
    """

    def __init__(self, clips: ClipEncoder) -> None:
        self.clips = clips
        self.log: list[str] = []
        self.buffers: list[int] = []
        self.streams: list[object] = []

    @classmethod
    def of(cls, clips: ClipEncoder, monkeypatch: pytest.MonkeyPatch) -> Flight:
        """Make an encoder on the CPU believe to be on the second GPU."""
        clips.late, clips.device = True, GPU
        flight = cls(clips)
        monkeypatch.setattr(
            stream,
            "infer_clips",
            lambda encoder, frames, _device, precision: infer_clips(encoder, frames, _CPU, precision),
        )
        monkeypatch.setattr(torch.cuda, "Event", flight.event)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: ("stream", device))
        return flight

    def event(self) -> _Event:
        return _Event(self)


class _Event:
    def __init__(self, flight: Flight) -> None:
        self.flight = flight

    def record(self, where: object = None) -> None:
        batch = self.flight.clips._filling
        assert batch.rows is not None
        self.number = len(self.flight.buffers)
        self.flight.log.append(f"launch {self.number}")
        self.flight.buffers.append(batch.frames.data_ptr())
        self.flight.streams.append(where)
        self.frames, self.frames_then = batch.frames, batch.frames.clone()
        self.rows, self.rows_to_come = batch.rows, batch.rows.clone()
        self.rows.fill_(torch.nan)

    def synchronize(self) -> None:
        self.flight.log.append(f"land {self.number}")
        assert torch.equal(self.frames, self.frames_then), "the buffer was filled while the device read it"
        self.rows.copy_(self.rows_to_come)
