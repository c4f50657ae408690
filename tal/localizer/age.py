"""Tells the model how old each row is: a learned vector for each power of two of the age in steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BUCKETS = 18  # fresh, then ages [1, 2), [2, 4), … up to 2**16 steps and above


class AgeEmbedding(nn.Module):
    """features [B, C, T] + embedding of age [B, T]; starts at zero, so that it changes nothing unlearnt."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(_BUCKETS, channels)
        nn.init.zeros_(self.table.weight)

    @staticmethod
    def bucket(age: Tensor) -> Tensor:
        """0 for fresh rows (age <= 0), else 1 + floor(log2(age)), bounded."""
        exponent = torch.log2(age.clamp(min=1).double()).floor().long()
        return torch.where(age > 0, exponent + 1, 0).clamp(max=_BUCKETS - 1)

    def forward(self, features: Tensor, age: Tensor | None) -> Tensor:
        if age is None:
            return features + self.table.weight[0][None, :, None]
        return features + self.table(self.bucket(age)).transpose(1, 2)
