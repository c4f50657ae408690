"""Normalisations. All are called with x [B, C, T] and mask bool [B, 1, T]."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributed as dist

from tal.decoders.layers.masks import masked

NormKind = Literal["group", "batch", "sync_batch"]
_GROUPS = 32  # or as many as divide the channels


def _at_least_float32(x: Tensor) -> Tensor:
    """Sums over thousands of half-precision values lose digits; double stays double (gradient checks)."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position."""

    def __init__(self, channels: int, strict: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.strict, self.eps = strict, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, C, T], mask bool [B, 1, T] -> [B, C, T], in float32 at least."""
        x = _at_least_float32(x)
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps) * self.weight[:, None] + self.bias[:, None]
        return masked(normal, mask, self.strict)


class NoNorm(nn.Module):
    """Stands where a configuration has no normalisation."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x as it is."""
        return x


class GroupNorm(nn.Module):
    """Group normalisation over time: of each sample's valid positions when strict, of all otherwise.

    Without ``affine`` it has neither scale nor offset.
    """

    def __init__(
        self, channels: int, groups: int, strict: bool = True, affine: bool = True, eps: float = 1e-5
    ) -> None:
        super().__init__()
        assert channels % groups == 0, f"{channels} channels in {groups} groups"
        self.groups, self.strict, self.eps = groups, strict, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, C, T], mask bool [B, 1, T] -> [B, C, T]."""
        if self.weight is not None and not self.strict:
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        grouped = _at_least_float32(x).unflatten(1, (self.groups, -1))  # [B, G, C / G, T]
        keep = mask[:, None].to(grouped.dtype) if self.strict else grouped.new_ones(1, 1, 1, x.shape[2])
        count = (keep.sum(-1, keepdim=True) * grouped.shape[2]).clamp(min=1)
        mean = (grouped * keep).sum((2, 3), keepdim=True) / count
        centred = (grouped - mean) * keep
        scale = torch.rsqrt(centred.square().sum((2, 3), keepdim=True) / count + self.eps)
        if self.weight is None or self.bias is None:
            # the difference anew, not `centred`: gradients are summed in the order of version 0.1, to the bit
            normal = ((grouped - mean) * scale).flatten(1, 2)
        else:
            normal = (centred * scale).flatten(1, 2) * self.weight[:, None] + self.bias[:, None]
        return masked(normal, mask, self.strict).to(x.dtype)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the valid positions of the batch; with ``sync``, of all processes' batches.

    ``at_rest``: by the running statistics in training too, which then stay what they are. Written out, since
    `torch.nn.SyncBatchNorm` has no mask and refuses processes on CPUs.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        sync: bool = False,
        at_rest: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.sync, self.at_rest, self.momentum, self.eps = sync, at_rest, momentum, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        values = _at_least_float32(x)
        keep = mask.to(values.dtype)
        if self.training and not self.at_rest:
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


def build_norm(kind: NormKind, channels: int) -> GroupNorm | MaskedBatchNorm:
    """The normalisation of that name for ``channels`` channels."""
    if kind == "group":
        return GroupNorm(channels, math.gcd(_GROUPS, channels))
    return MaskedBatchNorm(channels, sync=kind == "sync_batch")
