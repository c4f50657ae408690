"""From decoded pictures to what an encoder takes; the same code in extraction, training and prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.device import kept, upload
from tal.video.clips import crop_square


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How pictures are fed to an encoder.

    Attributes
    ----------
    size, crop
        short side of the decoded pictures, and side of the square cut from their middle; pixels.
    mean, std
        of each channel, of values from 0 to 1.
    """

    size: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def center(self, frames: NDArray[np.uint8]) -> Tensor:
        """The middle square: uint8 [n, H, W, 3] -> uint8 tensor [n, crop, crop, 3] of its own."""
        return torch.from_numpy(np.ascontiguousarray(crop_square(frames, self.crop)))

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 [B, L, h, w, 3] -> float32 [B, 3, L, h, w] on the tensor's device."""
        mean, std = _channels(self.mean, frames.device), _channels(self.std, frames.device)
        values = frames.permute(0, 4, 1, 2, 3).to(torch.float32).div_(255)
        return values.sub_(mean).div_(std)


@kept
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A number of each channel, to be laid over [B, 3, L, h, w]."""
    return upload([torch.tensor(values).view(1, 3, 1, 1, 1)], device)[0]
