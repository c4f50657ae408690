"""How far a computed tensor lies from its reference."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

RTOL, ATOL, LOSS_RTOL = 1e-4, 1e-5, 1e-4


@dataclass
class Deviation:
    """Largest differences of one kind of output. ``excess``: |a - b| over atol + rtol |b|; 1 is the limit."""

    absolute: float = 0.0
    relative: float = 0.0
    excess: float = 0.0
    count: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, found: Tensor, wanted: Tensor, rtol: float = RTOL, atol: float = ATOL) -> None:
        self.count += 1
        if tuple(found.shape) != tuple(wanted.shape):
            self.fail(f"shape {list(found.shape)}, reference {list(wanted.shape)}")
            return
        if wanted.dtype == torch.bool or not wanted.is_floating_point():
            wrong = int((found != wanted).sum())
            if wrong:
                self.fail(f"{wrong} of {wanted.numel()} values differ")
            return
        if wanted.numel() == 0:
            return
        found, wanted = found.detach().double(), wanted.double()
        same = (found == wanted) | (found.isnan() & wanted.isnan())  # infinities too
        difference = torch.where(same, torch.zeros_like(found), (found - wanted).abs())
        if not bool(difference.isfinite().all()):
            self.fail("not finite")
            return
        self.absolute = max(self.absolute, float(difference.max()))
        self.relative = max(self.relative, float((difference / wanted.abs().clamp(min=atol)).max()))
        self.excess = max(self.excess, float((difference / (atol + rtol * wanted.abs())).max()))

    def fail(self, note: str) -> None:
        self.excess = float("inf")
        self.notes.append(note)
