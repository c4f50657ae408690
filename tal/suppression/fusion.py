"""Class-agnostic proposals and a video-level classifier make labelled detections."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

FusionRule = Literal["product", "sqrt"]


def fuse_video_scores(
    segments: Tensor, scores: Tensor, class_scores: Tensor, topk: int, rule: FusionRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Each proposal once per class of the video's ``topk`` best.

    segments [n, 2], scores [n], class_scores [C] in [0, 1] -> segments [n k, 2], scores [n k],
    labels [n k], the proposals in order for the best class, then for the next. ``rule``: score × class score
    (TALLFormer, AFSD), or its square root (ActionFormer, TriDet, CLTDR-GMG).
    """
    best, labels = torch.topk(class_scores.to(scores), min(topk, len(class_scores)))
    fused = best[:, None] * scores[None]  # [k, n]
    if rule == "sqrt":
        fused = torch.sqrt(fused)
    count = len(scores)
    return (
        segments.repeat(len(best), 1),
        fused.reshape(-1),
        labels[:, None].expand(-1, count).reshape(-1),
    )
