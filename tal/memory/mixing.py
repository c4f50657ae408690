"""Lay fresh rows over stored ones: one scatter by position, with validity and age."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StoredRows:
    """What the store holds of a batch of windows.

    ``rows`` float32 [B, W, C], zeros where nothing is; ``valid`` bool [B, W]: the position is inside the
    window's stretch of the video; ``written`` bool [B, W]: a row was ever written there; ``age`` long [B, W]
    in optimizer steps.
    """

    rows: Tensor
    valid: Tensor
    written: Tensor
    age: Tensor

    def to(self, device: torch.device | str) -> StoredRows:
        return StoredRows(*(t.to(device) for t in (self.rows, self.valid, self.written, self.age)))


@dataclass(frozen=True)
class ClipPlaces:
    """Where M fresh clips belong: ``sample`` in the batch, ``position`` of the first row, long [M] each."""

    sample: Tensor
    position: Tensor

    def to(self, device: torch.device | str) -> ClipPlaces:
        return ClipPlaces(self.sample.to(device), self.position.to(device))

    def rows(self, rows_per_clip: int) -> Tensor:
        """Positions of all rows, long [M, rows_per_clip]."""
        return self.position[:, None] + torch.arange(rows_per_clip, device=self.position.device)


@dataclass(frozen=True)
class MixedRows:
    """What the localizer takes.

    ``features`` [B, C, W], ``mask`` bool [B, 1, W], ``age`` long [B, W] (0 = fresh), ``fresh`` bool [B, W].
    """

    features: Tensor
    mask: Tensor
    age: Tensor
    fresh: Tensor


def mix(stored: StoredRows, fresh: Tensor | None, places: ClipPlaces, fresh_only: bool = False) -> MixedRows:
    """Lay fresh rows [M, R, C] over the stored ones; the gradient goes through the fresh rows alone.

    Positions that neither the window nor anything written covers are masked; ``fresh_only`` masks the stored
    rows too.
    """
    rows = stored.rows
    is_fresh = torch.zeros_like(stored.valid)
    age = stored.age
    if fresh is not None and len(fresh):
        at = places.rows(fresh.shape[1])  # [M, R]
        # the last clip may stick out of a window that is not a multiple of clips
        inside = (at >= 0) & (at < rows.shape[1])
        sample = places.sample[:, None].expand_as(at)[inside]
        at = at[inside]
        rows = rows.index_put((sample, at), fresh[inside].to(rows.dtype))
        is_fresh = is_fresh.index_put((sample, at), torch.ones_like(at, dtype=torch.bool))
        age = age.index_put((sample, at), torch.zeros_like(at))
    mask = stored.valid & (is_fresh if fresh_only else stored.written | is_fresh)
    features = (rows * mask[..., None]).transpose(1, 2)  # [B, C, W]
    return MixedRows(features, mask[:, None], age.clamp(min=0), is_fresh & mask)
