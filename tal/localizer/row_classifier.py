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

from tal.decoders.base import Targets
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

    @torch.no_grad()
    def segment_scores(
        self,
        rows: NDArray[np.floating] | Tensor,
        segments: NDArray[np.float64],
        labels: NDArray[np.int64],
        valid: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """Mean probability of each segment's label over its rows, float64 [N].

        rows [T, C]; segments [N, 2] in rows, both ends included; a segment between two rows takes the nearer
        one. ``valid`` bool [T]: rows that count; a segment without any has probability 0. One segment's rows
        are in memory at a time, a block of a long one's.
        """
        device, biases = self.linear.weight.device, self.linear.bias
        assert biases is not None
        last = len(rows) - 1
        starts = np.ceil(segments[:, 0]).clip(0, last).astype(np.int64)
        ends = np.floor(segments[:, 1]).clip(0, last).astype(np.int64)
        between = starts > ends
        starts[between] = ends[between] = segments[between].mean(1).round().clip(0, last)
        scores = np.zeros(len(segments))
        for index, (start, end, label) in enumerate(zip(starts, ends, labels, strict=True)):
            weight, bias = self.linear.weight[label, :, 0], biases[label]
            total = count = 0.0
            for first in range(start, end + 1, _BLOCK_ROWS):
                part = slice(first, min(first + _BLOCK_ROWS, end + 1))
                counted = np.ones(part.stop - first, np.bool_) if valid is None else valid[part]
                features = torch.as_tensor(rows[part]).float().to(device)
                probabilities = torch.sigmoid(features @ weight + bias).double().cpu().numpy()
                total += float(probabilities[counted].sum())
                count += int(counted.sum())
            scores[index] = total / count if count else 0.0
        return scores

    def forward(self, features: Tensor, mask: Tensor, targets: Sequence[Targets], stride: int) -> Tensor:
        """Mean over samples of the focal loss a positive (row, class) pair.

        features [B, C, T] in rows, mask bool [B, 1, T]; segments of ``targets`` in positions of ``stride``
        rows. A mean over samples is the same however a step is divided into parts.
        """
        logits = self.linear(features)
        labels = row_labels(targets, logits, stride)
        loss = (sigmoid_focal(logits, labels) * mask).sum((1, 2))
        positives = (labels * mask).sum((1, 2)).clamp(min=1)
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
