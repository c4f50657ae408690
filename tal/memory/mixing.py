"""Lay fresh rows over stored ones: one scatter by position, with validity and age.

Where everything goes follows from the samples and the store's ledger, which the host has: it is worked out
there, so that nobody waits for the device to say it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StoredRows:
    """What the store holds of a batch of windows.

    ``rows`` float32 [B, W, C], zeros where nothing is; ``valid`` bool [B, W]: the position is inside the
    window's stretch of the video; ``written`` bool [B, W]: a row was ever written there; ``age`` long [B, W]
    in optimizer steps. Only ``rows`` ever go to a device.
    """

    rows: Tensor
    valid: Tensor
    written: Tensor
    age: Tensor

    def to(self, device: torch.device | str) -> StoredRows:
        """With the rows on a device; to CUDA by way of pinned memory, for which the host does not wait."""
        rows = self.rows.pin_memory() if torch.device(device).type == "cuda" else self.rows
        return StoredRows(rows.to(device, non_blocking=True), self.valid, self.written, self.age)


@dataclass(frozen=True)
class ClipPlaces:
    """Where M fresh clips belong: ``sample`` in the batch, ``position`` of the first row, long [M] each."""

    sample: Tensor
    position: Tensor

    def rows(self, rows_per_clip: int) -> Tensor:
        """Positions of all rows, long [M, rows_per_clip]."""
        return self.position[:, None] + torch.arange(rows_per_clip)


@dataclass(frozen=True)
class Layout:
    """What each position of a batch of windows holds; all on the host.

    Attributes
    ----------
    mask
        bool [B, 1, W]: a row of the video is known there.
    age
        long [B, W] in optimizer steps, 0 where it is fresh.
    fresh
        bool [B, W]: it is a fresh row's.
    sample, position, row
        long [n] each: which position takes which fresh row, counted through all clips.
    replaced
        bool [n]: a stored row was there before.
    """

    mask: Tensor
    age: Tensor
    fresh: Tensor
    sample: Tensor
    position: Tensor
    row: Tensor
    replaced: Tensor

    @property
    def stored(self) -> Tensor:
        """bool [B, W]: the position holds a stored row."""
        return self.mask[:, 0] & ~self.fresh


def lay_out(stored: StoredRows, places: ClipPlaces, rows_per_clip: int, fresh_only: bool = False) -> Layout:
    """Where stored rows and those of fresh clips go.

    Positions that neither the window nor anything written covers are masked; ``fresh_only`` masks the stored
    rows too.
    """
    at = places.rows(rows_per_clip)  # [M, R]
    # the last clip may stick out of a window that is not a multiple of clips
    inside = (at >= 0) & (at < stored.valid.shape[1])
    sample, position = places.sample[:, None].expand_as(at)[inside], at[inside]
    fresh, age = torch.zeros_like(stored.valid), stored.age.clone()
    fresh[sample, position] = True
    age[sample, position] = 0
    mask = stored.valid & (fresh if fresh_only else stored.written | fresh)
    return Layout(
        mask[:, None],
        age.clamp(min=0),
        fresh & mask,
        sample,
        position,
        torch.nonzero(inside.flatten()).squeeze(1),
        (stored.written & stored.valid)[sample, position],
    )


def mix(
    rows: Tensor, mask: Tensor, fresh: Tensor | None, sample: Tensor, position: Tensor, row: Tensor
) -> Tensor:
    """Lay fresh rows [M, R, C] over stored rows [B, W, C]: features [B, C, W] with zeros outside the mask.

    The gradient goes through the fresh rows alone. The others are a `Layout`'s, on the rows' device.
    """
    if fresh is not None:
        rows = rows.index_put((sample, position), fresh.flatten(0, 1)[row].to(rows.dtype))
    return (rows * mask[:, 0, :, None]).transpose(1, 2)
