"""An average of the weights, used to validate and as the final model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """w̄ <- d w̄ + (1 - d) w after every finite step; buffers are copied, not averaged.

    d grows from 2/11 to ``decay`` as (1 + n) / (10 + n) over the first steps n: a constant .999 would be
    two thirds initial weights after the 400 steps that a small data set takes.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._parameters = {name for name, _ in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step ``step``."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        copied: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, value in model.state_dict().items():
            learnt = name in self._parameters and value.is_floating_point()
            for pair, tensor in zip(averaged if learnt else copied, (self.state[name], value), strict=True):
                pair.append(tensor)
        torch._foreach_lerp_(*averaged, 1 - decay)  # a few launches on a device, not one for each weight
        if copied[0]:
            torch._foreach_copy_(*copied)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model holds the average inside the block, and its own weights after it."""
        own = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)
