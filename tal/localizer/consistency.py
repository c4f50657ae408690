"""The consistency module: self-attention over the whole window (TALLFormer §3.3), masked.

Fresh and stored rows come from different versions of the encoder; attention over all positions lets each
settle with the others. Pre-norm layers with a learned relative position bias for each head.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from tal.config import Config


class TcmConfig(Config):
    """``layers`` 0 leaves the module out. TALLFormer: 3 layers, 16 heads, drop path .1."""

    layers: int = Field(0, ge=0, le=100)
    heads: int = Field(8, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)
    drop_path: float = Field(0.1, ge=0, lt=1)
    start: Literal["identity", "random"] = Field(
        "identity",
        description="identity: a fresh layer changes nothing, its branches end in zeros; random: as released",
    )
    max_positions: int = Field(0, ge=0, description="length the bias is learnt for; 0: the training window's")


class RelativeBias(nn.Module):
    """Learned bias [heads, T, T] by distance i - j; sequences longer than learnt interpolate it linearly."""

    def __init__(self, heads: int, max_positions: int) -> None:
        super().__init__()
        self.max_positions = max_positions
        self.table = nn.Parameter(torch.empty(2 * max_positions - 1, heads))  # row d + N - 1 is distance d
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, length: int) -> Tensor:
        table: Tensor = self.table
        n = self.max_positions
        if length > n:
            # Stretch: the farthest pair of the longer sequence takes the bias of the farthest pair learnt.
            table = F.interpolate(table.t()[None], size=2 * length - 1, mode="linear", align_corners=True)[
                0
            ].t()
            n = length
        i = torch.arange(length, device=table.device)
        return table[(i[:, None] - i[None, :]) + n - 1].permute(2, 0, 1)  # [heads, T, T]


class ConsistencyLayer(nn.Module):
    """One pre-norm layer: x + attention, x + MLP. x [B, T, D], keep bool [B, 1, 1, T]."""

    def __init__(self, dim: int, config: TcmConfig, max_positions: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias = RelativeBias(config.heads, max_positions)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio))
        self.drop_path = DropPath(config.drop_path)
        if config.start == "identity":
            # Random branches hold a fresh localizer up (docs/tallformer.md).
            for last in (self.project, self.mlp.fc2):
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x), keep))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, keep: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (
            self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )  # each [B, h, T, d/h]
        # A window of padding only would have no key at all: its softmax is over the bias alone, and masked
        # later.
        nothing = ~keep.any(-1, keepdim=True)
        bias = self.bias(t).to(q.dtype).masked_fill(~(keep | nothing), torch.finfo(q.dtype).min)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.project(out.transpose(1, 2).reshape(b, t, d))


class ConsistencyModule(nn.Module):
    """[B, D, T], mask [B, 1, T] -> [B, D, T]; positions outside the mask are not keys, and end as zeros."""

    def __init__(self, dim: int, config: TcmConfig, max_positions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ConsistencyLayer(dim, config, max_positions) for _ in range(config.layers)
        )

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        x = features.transpose(1, 2)
        keep = mask[:, :, None, :].bool()
        for layer in self.layers:
            x = layer(x, keep)
        return x.transpose(1, 2) * mask
