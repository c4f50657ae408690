"""A linear classifier of single rows: it teaches the encoder, and may have a say in the scores.

A point decoder takes as positives a few positions around the middle of an action, so most fresh rows get no
gradient but through their neighbours. Here every row learns its own class. Encoders for localization are
taught so beforehand in TSP (Alwassel et al., 2021, section 3); here it happens in the same step. Its opinion
of a whole segment is the mean over the rows, and errs elsewhere than the decoder's, which has learnt more of
the training videos by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tal.decoders.base import Targets, known_at
from tal.losses import sigmoid_focal

_BLOCK_ROWS = 4096
_PRIOR = 0.01  # probability of a class at initialisation, as the decoders have it


class RowClassifier(nn.Module):
    """Logits of each row's classes, and their focal loss."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, num_classes, 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        assert self.linear.bias is not None
        nn.init.constant_(self.linear.bias, math.log(_PRIOR / (1 - _PRIOR)))

    @property
    def num_classes(self) -> int:
        """Classes that a row can be of."""
        return self.linear.out_channels

    @torch.no_grad()
    def probabilities(self, rows: NDArray[np.floating] | Tensor, out: NDArray[np.float32]) -> None:
        """Probability of each class in each row: rows [T, C] -> ``out`` [T, classes].

        A block of rows goes to the device and its probabilities come back, one copy each.
        """
        weight, bias = self.linear.weight[:, :, 0].t(), self.linear.bias
        assert bias is not None
        for first in range(0, len(rows), _BLOCK_ROWS):
            features = torch.as_tensor(rows[first : first + _BLOCK_ROWS]).to(weight.device).float()
            out[first : first + _BLOCK_ROWS] = torch.sigmoid(features @ weight + bias).cpu().numpy()

    def forward(self, features: Tensor, mask: Tensor, targets: Sequence[Targets], stride: int) -> Tensor:
        """Mean over samples of the focal loss a positive (row, class) pair.

        features [B, C, T] in rows, mask bool [B, 1, T]; segments of ``targets`` in positions of ``stride``
        rows. A mean over samples is the same however a step is divided into parts.
        """
        logits = self.linear(features)
        labels = row_labels(targets, logits, stride)
        positions = torch.arange(logits.shape[2], device=logits.device) // stride
        known = known_at(targets, positions, logits.shape[1])
        counted = mask if known is None else mask & (known.transpose(1, 2) | (labels > 0))
        loss = (sigmoid_focal(logits, labels) * counted).sum((1, 2))
        positives = (labels * mask).sum((1, 2)).clamp(min=1)
        return (loss / positives).mean()


def segment_means(
    probabilities: NDArray[np.float32],
    segments: NDArray[np.float64],
    labels: NDArray[np.int64],
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Mean probability of each segment's label over its rows, float64 [N].

    ``probabilities`` [T, classes]; segments [N, 2] in rows, both ends included; a segment between two rows
    takes the nearer one. ``valid`` bool [T]: rows that count; a segment without any has probability 0.
    """
    last = len(probabilities) - 1
    starts = np.ceil(segments[:, 0]).clip(0, last).astype(np.int64)
    ends = np.floor(segments[:, 1]).clip(0, last).astype(np.int64)
    between = starts > ends
    starts[between] = ends[between] = segments[between].mean(1).round().clip(0, last)
    means = np.zeros(len(segments))
    for index, (start, end, label) in enumerate(zip(starts, ends, labels, strict=True)):
        inside = probabilities[start : end + 1, label]
        if valid is not None:
            inside = inside[valid[start : end + 1]]
        means[index] = inside.mean(dtype=np.float64) if len(inside) else 0.0
    return means


def row_labels(targets: Sequence[Targets], like: Tensor, stride: int) -> Tensor:
    """1.0 where a row lies inside a segment of a class, in the shape [B, classes, T] of ``like``."""
    labels = torch.zeros_like(like, dtype=torch.float32)
    at = torch.arange(like.shape[2], device=like.device)
    for sample, target in enumerate(targets):
        segments = target.segments * stride
        inside = (at >= segments[:, :1]) & (at <= segments[:, 1:])  # [N, T]
        labels[sample].index_add_(0, target.labels, inside.to(labels))
    return labels.clamp(max=1)
