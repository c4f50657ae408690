"""Half the length of a map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tal.decoders.layers.masks import max_pool, strided


class Downsampling(nn.Module):
    """Halves the length by maximum, or by mean and a 1 x 1 convolution; stride 1 leaves x as it is."""

    def __init__(self, channels: int, stride: int, kind: str, strict: bool) -> None:
        super().__init__()
        self.stride, self.strict = stride, strict
        self.projection = nn.Conv1d(channels, channels, 1) if stride > 1 and kind == "avg" else None

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, C, T], mask bool [B, 1, T] -> ([B, C, T / stride], its mask)."""
        if self.stride == 1:
            return x, mask
        out_mask = strided(mask, self.stride)
        if self.projection is None:
            return max_pool(x, mask, self.stride, self.strict), out_mask
        y = self.projection(self._mean(x, mask))
        # the mask of x's type: half precision ends here
        return y * out_mask.to(x.dtype) if self.strict else y, out_mask

    def _mean(self, x: Tensor, mask: Tensor) -> Tensor:
        """Mean of each ``stride`` positions, when strict of the valid ones among them."""
        if not self.strict:
            return F.avg_pool1d(x, self.stride)
        keep = mask.to(x.dtype)
        return F.avg_pool1d(x * keep, self.stride) / F.avg_pool1d(keep, self.stride).clamp(min=1e-6)
