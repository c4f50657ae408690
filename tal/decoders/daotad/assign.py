"""Which anchor answers for which ground truth: the maximum-IoU rule of RetinaNet, for a batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tal.decoders.padded_targets import PaddedTargets, pairwise_iou


@dataclass(frozen=True)
class Assignment:
    """What each anchor learns; every field is [B, N].

    Attributes
    ----------
    target
        index of the segment that the anchor answers for.
    positive, negative
        bool; an anchor that is neither is ignored.
    """

    target: Tensor
    positive: Tensor
    negative: Tensor


def assign_max_iou(
    anchors: Tensor, valid: Tensor, targets: PaddedTargets, positive_iou: float, negative_iou: float
) -> Assignment:
    """anchors [N, 2], valid bool [B, N] (False: neither positive nor negative) -> `Assignment`.

    An anchor is positive for the segment it overlaps most when that IoU is at least ``positive_iou``,
    negative when it is below ``negative_iou``. Besides, each segment claims every anchor that reaches the
    segment's own best IoU (when above 0: a segment no anchor touches claims nothing), even from another
    segment; of several claims the one with the largest IoU wins.
    """
    iou = pairwise_iou(anchors, targets.segments)  # [B, N, G]
    iou = iou.masked_fill(~(valid[..., None] & targets.real[:, None]), -1.0)
    best, target = iou.max(dim=2)
    positive = best >= positive_iou
    best_of_segment = iou.amax(dim=1, keepdim=True)  # [B, 1, G]
    claimed = (iou == best_of_segment) & (best_of_segment > 0)
    claim, claimant = iou.masked_fill(~claimed, -1.0).max(dim=2)
    target = torch.where(claim > 0, claimant, target)
    positive = positive | (claim > 0)
    return Assignment(target, positive, valid & ~positive & (best < negative_iou))
