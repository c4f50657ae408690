"""Parts that the convolutional blocks (SGP, GMG) share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.layers.masked import max_pool, strided


class Downsampling(nn.Module):
    """Halves the length by maximum, or by mean and a 1 x 1 convolution; stride 1 leaves x as it is."""

    def __init__(self, channels: int, stride: int, kind: str, strict: bool) -> None:
        super().__init__()
        self.stride, self.strict = stride, strict
        self.projection = nn.Conv1d(channels, channels, 1) if stride > 1 and kind == "avg" else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        if self.projection is None:
            return max_pool(x, mask, self.stride, self.strict)
        if not self.strict:
            return self.projection(F.avg_pool1d(x, self.stride))
        keep = mask.to(x.dtype)
        mean = F.avg_pool1d(x * keep, self.stride) / F.avg_pool1d(keep, self.stride).clamp(min=1e-6)
        return self.projection(mean) * strided(mask, self.stride).to(x.dtype)


def depthwise(channels: int, kernel: int, sd: float) -> nn.Conv1d:
    """Depth-wise convolution, weights N(0, sd), bias 0."""
    layer = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
    nn.init.normal_(layer.weight, 0.0, sd)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def feed_forward(channels: int, hidden: int) -> nn.Sequential:
    """1 x 1 convolution, GELU, 1 x 1 convolution."""
    layers = nn.Sequential(nn.Conv1d(channels, hidden, 1), nn.GELU(), nn.Conv1d(hidden, channels, 1))
    for layer in (layers[0], layers[2]):
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layers
