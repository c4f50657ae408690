"""Ground truth of a batch as tensors of one shape; overlaps and extents of many segments at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tal.decoders.base import Targets


@dataclass(frozen=True)
class PaddedTargets:
    """Ground truth of a batch: segments [B, G, 2], labels [B, G], real bool [B, G] (False: filling)."""

    segments: Tensor
    labels: Tensor
    real: Tensor

    @classmethod
    def collate(cls, targets: Sequence[Targets], device: torch.device) -> PaddedTargets:
        """Pad to the largest number of segments, at least one."""
        most = max(1, *(len(target.labels) for target in targets)) if targets else 1
        segments = torch.zeros(len(targets), most, 2, device=device)
        labels = torch.zeros(len(targets), most, dtype=torch.long, device=device)
        real = torch.zeros(len(targets), most, dtype=torch.bool, device=device)
        for sample, target in enumerate(targets):
            count = len(target.labels)
            segments[sample, :count] = target.segments.to(device)
            labels[sample, :count] = target.labels.to(device)
            real[sample, :count] = True
        return cls(segments, labels, real)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of segments [..., N, 2] and [..., M, 2] -> [..., N, M]; 0 if both are empty."""
    start = torch.maximum(first[..., :, None, 0], second[..., None, :, 0])
    end = torch.minimum(first[..., :, None, 1], second[..., None, :, 1])
    inter = (end - start).clamp(min=0)
    lengths = (first[..., 1] - first[..., 0])[..., :, None] + (second[..., 1] - second[..., 0])[..., None, :]
    return inter / (lengths - inter).clamp(min=torch.finfo(inter.dtype).tiny)


def valid_extent(mask: Tensor) -> tuple[Tensor, Tensor]:
    """First and last valid position of each sample, long [B, 1] each; (0, 0) for a sample without any.

    mask bool [B, 1, T].
    """
    valid = mask[:, 0].to(torch.uint8)
    first = valid.argmax(dim=1, keepdim=True)
    last = mask.shape[-1] - 1 - valid.flip(1).argmax(dim=1, keepdim=True)
    return first, torch.where(mask[:, 0].any(dim=1, keepdim=True), last, first)


def clamp_to_valid(segments: Tensor, mask: Tensor) -> Tensor:
    """Segments [B, N, 2] cut one position outside the valid ones: beyond, there is nothing to point at."""
    first, last = (edge[..., None].to(segments.dtype) for edge in valid_extent(mask))
    return segments.maximum(first - 1).minimum(last + 1)
