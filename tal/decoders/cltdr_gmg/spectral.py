"""The global branch of a GMG block: a filter in the frequency domain that depends on the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.device import kept, upload

_SHRINK = 0.001


@kept
def _equal_lengths(lengths: tuple[int, ...], device: torch.device) -> list[tuple[int, Tensor]]:
    """Each length above 0, ascending, with the samples that have it, long [n]."""
    distinct = sorted({n for n in lengths if n > 0})
    samples = [torch.tensor([i for i, n in enumerate(lengths) if n == length]) for length in distinct]
    return list(zip(distinct, upload(samples, device), strict=True))


class SpectralMixer(nn.Module):
    """irfft(shrink(w2 ReLU(w1 X + b1) + b2) X) with X = rfft(u) and one complex w and b per channel.

    ReLU and soft shrinkage act on real and imaginary part. In float32 at least, whatever autocast says. With
    ``lengths`` each sample is transformed over its own valid positions, so that padding plays no part;
    samples of equal length together.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w1, self.b1, self.w2, self.b2 = (nn.Parameter(0.02 * torch.randn(2, channels)) for _ in range(4))

    def forward(self, u: Tensor, lengths: Sequence[int] | None) -> Tensor:
        """u [B, D, T], zeros outside the valid positions when ``lengths`` are given -> [B, D, T]."""
        with torch.autocast(u.device.type, enabled=False):
            x = u.to(torch.promote_types(u.dtype, torch.float32))
            if lengths is None or all(n == x.shape[2] for n in lengths):
                return self._mix(x).to(u.dtype)
            out = torch.zeros_like(x)
            for length, rows in _equal_lengths(tuple(lengths), x.device):
                out[rows, :, :length] = self._mix(x[rows, :, :length])
            return out.to(u.dtype)

    def _mix(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x, dim=-1, norm="ortho")
        w1, b1, w2, b2 = (torch.complex(p[0], p[1])[:, None] for p in (self.w1, self.b1, self.w2, self.b2))
        hidden = w1 * spectrum + b1
        hidden = torch.complex(F.relu(hidden.real), F.relu(hidden.imag))
        gain = w2 * hidden + b2
        gain = torch.complex(F.softshrink(gain.real, _SHRINK), F.softshrink(gain.imag, _SHRINK))
        return torch.fft.irfft(gain * spectrum, n=x.shape[-1], dim=-1, norm="ortho")
