"""The refinement head, and what its outputs do to scores and distances."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.layers.convolution import MaskedConv1d
from tal.decoders.pyramid.heads import LevelLayout, Tower

# Kernel of the shifts of start and end, as released.
SHIFT_KERNEL = 7


class RefineHead(nn.Module):
    """Shifts of start and end, and a confidence, for each class and position."""

    def __init__(self, tower: Tower, width: int, num_classes: int, kernel: int) -> None:
        super().__init__()
        self.tower = tower
        self.start = MaskedConv1d(width, num_classes, SHIFT_KERNEL)
        self.end = MaskedConv1d(width, num_classes, SHIFT_KERNEL)
        self.confidence = MaskedConv1d(width, num_classes, kernel)

    def forward(self, x: Tensor, layout: LevelLayout) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Joined [B, D, N] -> start shifts, end shifts, confidence logits [B, C, T_l] of each level."""
        x = self.tower(x, layout)
        start, end, confidence = (
            layout.split(layer(x, layout.mask)) for layer in (self.start, self.end, self.confidence)
        )
        return start, end, confidence


def refined_logits(logits: Tensor, confidence: Tensor, rule: str) -> Tensor:
    """Logits after refinement.

    ``residual``: a + r. ``product``: the logit of sigmoid(a) sigmoid(r), which never exceeds either. Both
    start at the class prior. ``product_logits``: a r, the released rule, which starts near probability
    1/2 and turns two negatives into a high score.
    """
    if rule == "residual":
        return logits + confidence
    if rule == "product_logits":
        return logits * confidence
    log_probability = F.logsigmoid(logits.float()) + F.logsigmoid(confidence.float())
    # log(p / (1 - p)) with 1 - p = -expm1(log p), kept away from p = 1
    return log_probability - torch.log(-torch.expm1(log_probability.clamp(max=-1e-6)))


def refined_distances(
    distances: Tensor, start_shift: Tensor, end_shift: Tensor, unit: float | Tensor
) -> Tensor:
    """Distances [n, 2] in strides, moved by shifts [n] of ``unit`` strides; never below 0."""
    shift = torch.stack((-start_shift, end_shift), -1).float() * unit
    return (distances + shift).clamp(min=0)
