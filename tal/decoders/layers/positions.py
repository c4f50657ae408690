"""Codes of positions in a sequence."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoids(length: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sine and cosine position codes [C, T] (Vaswani et al., 2017), divided by sqrt(C)."""
    pair = torch.arange(channels, dtype=torch.float64, device=device) // 2
    position = torch.arange(length, dtype=torch.float64, device=device)
    angle = position[None] / torch.pow(10000.0, 2 * pair / channels)[:, None]
    even = (torch.arange(channels, device=device) % 2 == 0)[:, None]
    return (torch.where(even, angle.sin(), angle.cos()) / math.sqrt(channels)).float()
