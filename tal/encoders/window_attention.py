"""Video Swin's attention in shifted windows, through torch's fused attention.

torchvision writes it out: a score for every pair of a window's tokens (392 x 392 at 32 frames of 224 px, for
each window and head), in 32 bits under autocast too, several times over and kept for the backward pass. They
are what decides how many clips fit. Fused, none of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

from tal.device import kept, upload

_APART = -100.0  # torchvision's: what tokens from two ends of the volume add to their score


class WindowAttention(ShiftedWindowAttention3d):
    """`ShiftedWindowAttention3d` with the same parameters and, but for rounding, the same results.

    Windows that lie inside see all of their tokens; those at an end of an axis hold tokens of both ends,
    which do not see each other: at most eight kinds, each attended to with the one mask that it needs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Volume [B, T, H, W, C] -> the same shape."""
        batch, *size, channels = x.shape
        fits = [n <= window for n, window in zip(size, self.window_size, strict=True)]
        window = [n if fit else w for n, w, fit in zip(size, self.window_size, fits, strict=True)]
        shift = [0 if fit else s for s, fit in zip(self.shift_size, fits, strict=True)]
        (t, h, w), steps = window, [-(-n // side) for n, side in zip(size, window, strict=True)]
        padding = [count * side - n for count, side, n in zip(steps, window, size, strict=True)]
        x = F.pad(x, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        if any(shift):
            x = torch.roll(x, [-s for s in shift], (1, 2, 3))
        x = x.view(batch, steps[0], t, steps[1], h, steps[2], w, channels)
        windows = x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6)  # [B, *steps, N, C]
        bias = self.get_relative_position_bias(window)  # [1, heads, N, N]
        mixed = self._by_kind(self.qkv(windows), bias, window, shift, ())
        mixed = F.dropout(self.proj(mixed), self.dropout, self.training)
        mixed = mixed.view(batch, *steps, t, h, w, channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        volume = mixed.reshape(batch, *(n * side for n, side in zip(steps, window, strict=True)), channels)
        if any(shift):
            volume = torch.roll(volume, shift, (1, 2, 3))
        return volume[:, : size[0], : size[1], : size[2]].contiguous()

    def _by_kind(
        self, qkv: Tensor, bias: Tensor, window: Sequence[int], shift: Sequence[int], ends: tuple[bool, ...]
    ) -> Tensor:
        """Windows [B, *steps, N, 3 C] -> [B, *steps, N, C]; ``ends``: at which axes' ends all of them lie."""
        axis = len(ends)
        if axis == 3:
            mask = bias
            if any(ends):
                mask = bias + _between_ends(tuple(window), tuple(shift), ends, qkv.device)
            return self._attend(qkv, mask)
        if not shift[axis]:
            return self._by_kind(qkv, bias, window, shift, (*ends, False))
        inside, end = qkv.split([qkv.shape[1 + axis] - 1, 1], dim=1 + axis)
        parts = [
            self._by_kind(part, bias, window, shift, (*ends, at_end))
            for part, at_end in ((inside, False), (end, True))
        ]
        return torch.cat(parts, dim=1 + axis)

    def _attend(self, qkv: Tensor, mask: Tensor) -> Tensor:
        """Attention inside each window under one mask [1, heads, N, N]."""
        *windows, tokens, width = qkv.shape
        heads = self.num_heads
        parts = qkv.reshape(-1, tokens, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)  # [windows, heads, N, C / heads]
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask.to(query.dtype), dropout)
        return mixed.transpose(1, 2).reshape(*windows, tokens, width // 3)


def fused_block(*sizes: Any, **options: Any) -> SwinTransformerBlock:
    """torchvision's block with this attention, for the ``block`` of its networks (which name another)."""
    return SwinTransformerBlock(*sizes, **{**options, "attn_layer": WindowAttention})


@kept
def _between_ends(
    window: tuple[int, ...], shift: tuple[int, ...], ends: tuple[bool, ...], device: torch.device
) -> Tensor:
    """Mask [N, N] of a window at these ends: tokens that the shift brought there see each other alone."""
    side = torch.zeros(window, dtype=torch.long)
    for axis, (count, moved, at_end) in enumerate(zip(window, shift, ends, strict=True)):
        if at_end:
            shape = [count if other == axis else 1 for other in range(3)]
            side += (torch.arange(count) >= count - moved).long().view(shape) * 2**axis
    side = side.flatten()
    apart = (side[:, None] != side[None]).float() * _APART
    return upload([apart], device)[0]
