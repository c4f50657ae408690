"""A linear classifier of single rows that teaches the encoder, and is not part of the model.

A point decoder takes as positives a few positions around the middle of an action, so most fresh rows get no
gradient but through their neighbours. Here every row learns its own class. Encoders for localization are
taught so beforehand in TSP (Alwassel et al., 2021, section 3); here it happens in the same step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tal.decoders.base import Targets
from tal.losses import sigmoid_focal

_PRIOR = 0.01  # probability of a class at initialisation, as the decoders have it


class RowClassifier(nn.Module):
    """Logits of each row's classes, and their focal loss."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, num_classes, 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        assert self.linear.bias is not None
        nn.init.constant_(self.linear.bias, math.log(_PRIOR / (1 - _PRIOR)))

    def forward(self, features: Tensor, mask: Tensor, targets: Sequence[Targets], stride: int) -> Tensor:
        """Mean over samples of the focal loss a positive (row, class) pair.

        features [B, C, T] in rows, mask bool [B, 1, T]; segments of ``targets`` in positions of ``stride``
        rows. A mean over samples is the same however a step is divided into parts.
        """
        logits = self.linear(features)
        wanted = row_labels(targets, logits, stride)
        loss = (sigmoid_focal(logits, wanted) * mask).sum((1, 2))
        positives = (wanted * mask).sum((1, 2)).clamp(min=1)
        return (loss / positives).mean()


def row_labels(targets: Sequence[Targets], like: Tensor, stride: int) -> Tensor:
    """1.0 where a row lies inside a segment of a class, in the shape [B, classes, T] of ``like``."""
    labels = torch.zeros_like(like, dtype=torch.float32)
    at = torch.arange(like.shape[2], device=like.device)
    for sample, target in enumerate(targets):
        segments = target.segments * stride
        inside = (at >= segments[:, :1]) & (at <= segments[:, 1:])  # [N, T]
        labels[sample].index_add_(0, target.labels, inside.to(labels))
    return labels.clamp(max=1)
