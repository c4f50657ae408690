"""Classification losses on logits; every function returns one value per element, the caller sums.

Computed in float32 at least: under autocast the logits arrive in half precision.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., 2017) of logits and targets in [0, 1], of one shape.

    Soft targets y weigh both parts: p_t = p y + (1 - p)(1 - y). ``alpha`` < 0 leaves classes unweighted.
    """
    logits, targets = logits.float(), targets.float()
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = probability + targets - 2 * probability * targets  # 1 - p_t
    loss = cross_entropy * missed.pow(gamma)
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss


def varifocal(logits: Tensor, targets: Tensor, alpha: float = 0.75, detach: bool = True) -> Tensor:
    """Varifocal loss (Zhang et al., 2021): positives (target q > 0) weigh q, negatives alpha p^2.

    ``targets`` holds the quality of each positive (its IoU) and 0 elsewhere. Without ``detach`` the weight of
    negatives carries gradient too.
    """
    logits, targets = logits.float(), targets.float()
    probability = (logits.detach() if detach else logits).sigmoid()
    negative = alpha * (probability - targets).abs().pow(2.0)
    weight = targets.where(targets > 0, negative)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight


def quality_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Quality focal loss (Li et al., 2020): |q - p|^2 times cross entropy, targets as in `varifocal`."""
    logits, targets = logits.float(), targets.float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return cross_entropy * (targets - logits.sigmoid()).abs().pow(2.0)


def smooth_labels(targets: Tensor, epsilon: float, num_classes: int) -> Tensor:
    """y -> y (1 - epsilon) + epsilon / (num_classes + 1), for multi-hot targets."""
    return targets if epsilon == 0 else targets * (1 - epsilon) + epsilon / (num_classes + 1)
