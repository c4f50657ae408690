"""Self-attention over all positions or over a window around each, in memory linear in the length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Queries that share one stretch of keys; at least the window, so that not most of the keys are masked away.
_SMALLEST_CHUNK = 32


def full_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """query, key, value [B, H, T, d], mask bool [B, 1, T] of valid keys -> [B, H, T, d]."""
    # a sample without any valid key would divide by zero: let it look everywhere, its output is masked away
    visible = mask | ~mask.any(dim=2, keepdim=True)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, :, None])


def local_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, reach: int, bias: Tensor | None = None
) -> Tensor:
    """Each position sees ``reach`` positions to both sides: O(T reach) instead of O(T^2).

    query, key, value [B, H, T, d], mask bool [B, 1, T] -> [B, H, T, d]. ``bias`` [H, 2 reach + 1] is
    added to the logits by distance, key minus query. Queries are cut into chunks; the keys of a chunk are
    the chunk and ``reach`` on both sides.
    """
    batch, heads, length, width = query.shape
    chunk = max(_SMALLEST_CHUNK, reach)
    count = -(-length // chunk)
    extra = count * chunk - length
    span = chunk + 2 * reach

    def chunks_of_keys(x: Tensor) -> Tensor:
        """[B, n, T, …] -> [B, n, count, span, …]"""
        padded = F.pad(x, (0, 0, reach, reach + extra))
        return padded.unfold(2, span, chunk).transpose(-1, -2)

    queries = F.pad(query, (0, 0, 0, extra)).reshape(batch, heads, count, chunk, width)
    keys, values = chunks_of_keys(key), chunks_of_keys(value)
    valid = F.pad(mask, (reach, reach + extra)).unfold(2, span, chunk)  # [B, 1, count, span]

    # key column k of a chunk is at distance k - reach - q from its query row q
    steps = (
        torch.arange(span, device=query.device) - torch.arange(chunk, device=query.device)[:, None] - reach
    )
    near = steps.abs() <= reach
    visible = valid[..., None, :] & near  # [B, 1, count, chunk, span]
    # a query that sees nothing valid is itself invalid: any finite value will do
    visible = visible | (near & ~visible.any(-1, keepdim=True))
    attn_mask = visible
    if bias is not None:
        logits = bias[:, (steps + reach).clamp(0, 2 * reach)]  # [H, chunk, span]
        attn_mask = torch.where(visible, logits[None, :, None], -torch.inf).to(query.dtype)
    mixed = F.scaled_dot_product_attention(
        _flat(queries), _flat(keys), _flat(values), attn_mask=_flat(attn_mask.expand(batch, -1, -1, -1, -1))
    )  # [B count, H, chunk, d]
    mixed = mixed.reshape(batch, count, heads, chunk, width).transpose(1, 2)
    return mixed.reshape(batch, heads, count * chunk, width)[:, :, :length]


def _flat(x: Tensor) -> Tensor:
    """[B, H, count, …] -> [B count, H, …]"""
    return x.transpose(1, 2).flatten(0, 1)


class RelativeBias(nn.Module):
    """A learnt number for each head and distance, [H, window]."""

    def __init__(self, heads: int, window: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, window))
        nn.init.trunc_normal_(self.weight, std=(2.0 / width) ** 0.5)

    def forward(self) -> Tensor:
        return self.weight
