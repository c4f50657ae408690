"""The bottleneck of AdaTAD (Liu et al., CVPR 2024; opentad `vit_adapter.py`), kept inside a clip.

AdaTAD's convolution runs over the whole window, so after L blocks a row depends on 2 L clips around it. A row
of the memory has to be a function of its own clip: here the convolution ends where the clip does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    """x + scale * Up(z + PW(DW(z))), z = GELU(Down(x)); without a kernel x + scale * Up(z).

    Down, PW and Up are linear, DW is a depthwise convolution over time at each place of the picture.
    Up starts at zero: at first the module gives its input, bit for bit.

    Parameters
    ----------
    channels, hidden
        of x and of z.
    kernel
        steps that DW sees, odd, zeros beyond the clip; 0: neither DW nor PW.
    norm
        a layer norm before Down, for features that no norm has seen.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.down = nn.Linear(channels, hidden)
        self.depthwise = (
            nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden) if kernel else None
        )
        self.pointwise = nn.Linear(hidden, hidden) if kernel else None
        self.up = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, S, C], S places of T steps of a clip -> the same shape."""
        z = F.gelu(self.down(self.norm(x)))
        if self.depthwise is not None and self.pointwise is not None:
            z = z + self.pointwise(_over_time(self.depthwise, z))
        return x + self.scale * self.up(z)


def _over_time(convolution: nn.Conv1d, z: Tensor) -> Tensor:
    """A convolution along T of z [B, T, S, H], each place by itself."""
    batch, _, places, _ = z.shape
    series = z.permute(0, 2, 3, 1).flatten(0, 1)  # [B * S, H, T]
    return convolution(series).unflatten(0, (batch, places)).permute(0, 3, 1, 2)
