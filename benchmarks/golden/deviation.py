"""How far a computed tensor lies from its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

RTOL, ATOL, LOSS_RTOL = 1e-4, 1e-5, 1e-4


@dataclass
class Deviation:
    """Largest differences of one kind of output. ``excess``: |a - b| over atol + rtol |b|; 1 is the limit."""

    absolute: float = 0.0
    relative: float = 0.0
    excess: float = 0.0
    count: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, computed: Tensor, expected: Tensor, rtol: float = RTOL, atol: float = ATOL) -> None:
        self.count += 1
        if tuple(computed.shape) != tuple(expected.shape):
            self.fail(f"shape {list(computed.shape)}, reference {list(expected.shape)}")
            return
        if expected.dtype == torch.bool or not expected.is_floating_point():
            wrong = int((computed != expected).sum())
            if wrong:
                self.fail(f"{wrong} of {expected.numel()} values differ")
            return
        if expected.numel() == 0:
            return
        computed, expected = computed.detach().cpu().double(), expected.cpu().double()
        same = (computed == expected) | (computed.isnan() & expected.isnan())  # infinities too
        difference = torch.where(same, torch.zeros_like(computed), (computed - expected).abs())
        if not bool(difference.isfinite().all()):
            self.fail("not finite")
            return
        self.absolute = max(self.absolute, float(difference.max()))
        self.relative = max(self.relative, float((difference / expected.abs().clamp(min=atol)).max()))
        self.excess = max(self.excess, float((difference / (atol + rtol * expected.abs())).max()))

    def fail(self, note: str) -> None:
        self.excess = float("inf")
        self.notes.append(note)


def compare_gradients(module: nn.Module, norms: Mapping[str, Tensor], deviation: Deviation) -> None:
    """Norms of the gradients of all parameters against those of our names."""
    for name, parameter in module.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        deviation.add(gradient.norm(), norms[name])
