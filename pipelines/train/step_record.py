"""What a step did, and how its numbers come from the device: all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tal.memory.clip_loader import Batch
from tal.memory.mixing import Layout


@dataclass
class StepRecord:
    """What a step did.

    Attributes
    ----------
    finite
        False: it moved neither weights nor memory.
    overflow
        the gradient alone was not finite, under fp16's loss scale, which is lowered then: not a fault.
    grad_norm, encoder_grad_norm
        L2 norm of all gradients and of the encoder's, before clipping.
    fresh_rows, stored_rows, age_mean
        rows that were encoded and that were read, with the mean age of the latter in steps.
    drift
        cosine of each stored row and the fresh row that replaces it.
    decode_s, encode_s
        seconds.
    """

    finite: bool
    losses: dict[str, float]
    overflow: bool = False
    grad_norm: float = 0.0
    encoder_grad_norm: float = 0.0
    fresh_rows: int = 0
    stored_rows: int = 0
    age_mean: float = 0.0
    drift: list[float] = field(default_factory=list)
    decode_s: float = 0.0
    encode_s: float = 0.0

    def log_values(self) -> dict[str, Any]:
        """The numbers that the log has of a step: losses by name, and the rest but for drift."""
        return {
            **self.losses,
            "grad_norm": self.grad_norm,
            "encoder_grad_norm": self.encoder_grad_norm,
            "finite": self.finite,
            "overflow": self.overflow,
            "fresh_rows": self.fresh_rows,
            "stored_rows": self.stored_rows,
            "age_mean": self.age_mean,
            "decode_s": self.decode_s,
            "encode_s": self.encode_s,
        }

    def add_rows(self, layout: Layout, batch: Batch, encode_s: float) -> None:
        """Take in what the host knows of a micro-batch."""
        old, before = layout.stored, self.stored_rows
        self.fresh_rows += int(layout.fresh.sum())
        count = int(old.sum())
        self.stored_rows += count
        if count:
            total = self.age_mean * before + float(layout.age[old].sum())
            self.age_mean = total / self.stored_rows
        self.decode_s += batch.decode_s
        self.encode_s += encode_s

    def add_losses(self, losses: Mapping[str, float], parts: int) -> None:
        """Take in the losses of one of ``parts`` micro-batches."""
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value / parts


class Readout:
    """Numbers of a step that are on the device, in the order in which they were noted.

    The host looks at none of them before `read`, which takes them in one copy: the step's one wait for what
    the device computes. So weights move and rows are handed over by what the host knows, and a step that is
    refused leaves nothing to undo but statistics.
    """

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._numbers: list[float] = []

    def note(self, *values: Tensor) -> None:
        """Keep tensors of any shape to be read."""
        self._parts += [value.detach().reshape(-1).float() for value in values]

    def read(self) -> None:
        """Wait for everything noted."""
        self._numbers = torch.cat(self._parts).tolist()

    def take(self, count: int) -> Sequence[float]:
        """The next numbers in the order in which they were noted."""
        taken, self._numbers = self._numbers[:count], self._numbers[count:]
        assert len(taken) == count, "more numbers are taken than were noted"
        return taken
