"""Normalisation over valid positions only, so that a sample's output does not depend on its padding.

Shapes: x [B, C, T], mask bool [B, 1, T]. Outputs are zero where the mask is False.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch import distributed as dist

NormKind = Literal["group", "batch", "sync_batch"]


def _at_least_float32(x: Tensor) -> Tensor:
    """Sums over thousands of half-precision values lose digits; double stays double (gradient checks)."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class MaskedGroupNorm(nn.Module):
    """Group normalisation whose mean and variance are those of the valid positions of each sample."""

    def __init__(self, channels: int, groups: int = 32, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups = math.gcd(groups, channels)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, channels, length = x.shape
        grouped = _at_least_float32(x).reshape(batch, self.groups, channels // self.groups, length)
        keep = mask[:, None].to(grouped.dtype)  # [B, 1, 1, T]
        count = (keep.sum(-1, keepdim=True) * (channels // self.groups)).clamp(min=1)
        mean = (grouped * keep).sum((2, 3), keepdim=True) / count
        centred = (grouped - mean) * keep
        variance = centred.square().sum((2, 3), keepdim=True) / count
        normal = (centred * torch.rsqrt(variance + self.eps)).reshape(batch, channels, length)
        return ((normal * self.weight[:, None] + self.bias[:, None]) * mask).to(x.dtype)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the valid positions of the batch; with ``sync``, of all processes' batches.

    Written out rather than taken from `torch.nn.SyncBatchNorm`, which knows no mask and refuses CPU
    processes.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, sync: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.sync, self.momentum, self.eps = sync, momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        values = _at_least_float32(x)
        keep = mask.to(values.dtype)
        if self.training:
            mean, variance, count = self._statistics(values, keep)
            with torch.no_grad():
                unbiased = variance * count / (count - 1).clamp(min=1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normal = (values - mean[:, None]) * scale[:, None] + self.bias[:, None]
        return (normal * keep).to(x.dtype)

    def _statistics(self, values: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean [C], biased variance [C] and number of valid positions."""
        count = self._total(keep.sum().reshape(1)).clamp(min=1)
        mean = self._total((values * keep).sum((0, 2))) / count
        squares = ((values - mean[:, None]).square() * keep).sum((0, 2))
        return mean, self._total(squares) / count, count

    def _total(self, value: Tensor) -> Tensor:
        """Sum over the processes, differentiable; the value itself in a single one."""
        if not (self.sync and dist.is_available() and dist.is_initialized()):
            return value
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(value)


def build_norm(kind: NormKind, channels: int) -> MaskedGroupNorm | MaskedBatchNorm:
    """The normalisation of that name for ``channels`` channels."""
    if kind == "group":
        return MaskedGroupNorm(channels)
    return MaskedBatchNorm(channels, sync=kind == "sync_batch")
