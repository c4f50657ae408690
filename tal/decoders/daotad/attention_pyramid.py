"""Feature pyramid by patch merging and local self-attention (TALLFormer's release, THUMOS14).

The paper says "designed using DaoTAD"; its release puts this in the place of DaoTAD's strided convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal.decoders.layers.masks import masked, strided

# Added to the scores of keys out of reach; finite, so that a query without any valid key gives no NaN.
_FAR = -1e9


def sinusoidal_encoding(length: int, channels: int, like: Tensor) -> Tensor:
    """Sines (even channels) and cosines (odd) of wavelengths 2 pi to 20000 pi; [channels, length]."""
    position = torch.arange(length, device=like.device, dtype=torch.float32)
    rates = torch.exp(torch.arange(0, channels, 2, device=like.device) * (-math.log(10000.0) / channels))
    angles = rates[:, None] * position  # [ceil(C/2), T]
    return torch.stack([angles.sin(), angles.cos()], dim=1).reshape(-1, length)[:channels].to(like.dtype)


class LocalAttention(nn.Module):
    """Multi-head self-attention in which position i sees the ``width`` positions around it.

    Computed on the band only: time and memory T * width, not T^2.
    """

    def __init__(self, channels: int, num_heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.reach = num_heads, width // 2
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, C], mask bool [B, T] -> [B, T, C]."""
        batch, length, channels = x.shape
        split = (batch, length, self.num_heads, channels // self.num_heads)
        query, key, value = (part.reshape(split) for part in self.qkv(x).chunk(3, dim=-1))  # [B, T, H, D]
        key, value = self._neighbours(key), self._neighbours(value)  # [B, T, H, D, W]
        reachable = F.pad(mask, (self.reach, self.reach)).unfold(1, 2 * self.reach + 1, 1)  # [B, T, W]
        scores = torch.einsum("bthd,bthdw->bthw", query, key) / math.sqrt(split[-1])
        scores = scores.float().masked_fill(~reachable[:, :, None], _FAR)
        weights = self.dropout(scores.softmax(dim=-1)).to(value.dtype)
        mixed = torch.einsum("bthw,bthdw->bthd", weights, value).reshape(batch, length, channels)
        return self.out(mixed)

    def _neighbours(self, x: Tensor) -> Tensor:
        """[B, T, H, D] -> [B, T, H, D, W]: for each position its neighbours, zeros beyond the ends."""
        return F.pad(x, (0, 0, 0, 0, self.reach, self.reach)).unfold(1, 2 * self.reach + 1, 1)


class MergeStage(nn.Module):
    """Two neighbours become one position, then one post-norm Transformer layer with local attention."""

    def __init__(
        self, in_channels: int, channels: int, num_heads: int, hidden: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.merge = nn.Linear(2 * in_channels, channels, bias=False)
        self.merge_norm = nn.LayerNorm(channels)
        self.attention = LocalAttention(channels, num_heads, width, dropout)
        self.attention_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, channels)
        )
        self.mlp_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C, T], mask [B, 1, T] -> ([B, channels, ceil(T/2)], its mask)."""
        batch, channels, length = x.shape
        x = F.pad(masked(x, mask), (0, length % 2)).transpose(1, 2)  # [B, T even, C]
        mask = strided(mask, 2)
        x = self.merge_norm(self.merge(x.reshape(batch, -1, 2 * channels)))
        x = self.attention_norm(x + self.dropout(self.attention(x, mask[:, 0])))
        x = self.mlp_norm(x + self.dropout(self.mlp(x)))
        return masked(x.transpose(1, 2), mask), mask


class AttentionPyramid(nn.Module):
    """Level 0 is the input plus a position encoding; each further level one `MergeStage`.

    ``widths`` holds the attention band of each merged level, so there are len(widths) + 1 levels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        widths: Sequence[int],
        num_heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.level_channels = [in_channels] + [channels] * len(widths)
        self.dropout = nn.Dropout(dropout)
        self.stages = nn.ModuleList(
            MergeStage(inside, channels, num_heads, hidden, width, dropout)
            for inside, width in zip(self.level_channels, widths, strict=False)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        channels, length = x.shape[1:]
        encoding = sinusoidal_encoding(length, channels, x) / math.sqrt(channels)
        levels, masks = [masked(self.dropout(x + encoding), mask)], [mask]
        for stage in self.stages:
            x, mask = stage(levels[-1], masks[-1])
            levels.append(x)
            masks.append(mask)
        return levels, masks
