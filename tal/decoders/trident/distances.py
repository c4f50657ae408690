"""Trident decoding (TriDet): a boundary is the mean position over bins, weighted by softmax.

The start of an action at position t of a class c lies 0 … B positions to the left; bin logits are the
start logits of those positions plus the centre head's own. Only the (position, class) pairs asked for are
decoded, so memory does not grow with positions x classes x bins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def trident_distances(
    start: Tensor, end: Tensor, centre: Tensor, mask: Tensor | None, where: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Distances (left, right) [n, 2] in strides of the level.

    start, end: boundary logits [B, C, T]. centre: bin logits [B, 2 (bins + 1), T], left bins first, the
    left ones from far to near. where: sample, position and class of each pair, [n] each. mask bool [B, 1,
    T]: positions outside cannot be boundaries; None: they compete with logit 0, as in the released code.
    """
    sample, position, label = where
    bins = centre.shape[1] // 2 - 1
    outside = 0.0
    if mask is not None:
        outside = torch.finfo(start.dtype).min
        start, end = start.masked_fill(~mask, outside), end.masked_fill(~mask, outside)
    reach = torch.arange(bins + 1, device=start.device)
    columns = position[:, None] + reach
    left = F.pad(start, (bins, 0), value=outside)[sample[:, None], label[:, None], columns]
    right = F.pad(end, (0, bins), value=outside)[sample[:, None], label[:, None], columns]
    own = centre[sample, :, position]  # [n, 2 (bins + 1)]
    distance = reach.to(torch.float32)
    left_share = (left.float() + own[:, : bins + 1].float()).softmax(-1)
    right_share = (right.float() + own[:, bins + 1 :].float()).softmax(-1)
    # autocast would round the distances to 8 bits
    with torch.autocast(start.device.type, enabled=False):
        return torch.stack((left_share @ distance.flip(0), right_share @ distance), -1)
