"""Pictures changed a little: one draw for a whole window, so that time stays smooth.

Random crop, horizontal flip, rotation and colour, as in TALLFormer's training (§4.2). Brightness,
contrast, saturation and hue are one affine map of RGB here: a matrix product a picture instead of a trip
through HSV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from tal.config import Config
from tal.device import upload
from tal.video.clips import crop_square

# RGB -> luma and two chroma axes (YIQ); hue is a rotation of the chroma plane, saturation its scale.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


class AugmentConfig(Config):
    """What is drawn for each window of pictures."""

    crop: bool = Field(True, description="random place of the crop; false: the centre")
    scale: float = Field(
        1.0,
        gt=0,
        le=1,
        description="least side of the crop, as a share of the short side, then resized; 1: never resized",
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirrored window")
    rotation: float = Field(0.0, ge=0, le=1, description="probability of a rotated window")
    rotation_deg: float = Field(45.0, ge=0, le=180, description="largest angle")
    photometric: float = Field(0.5, ge=0, le=1, description="probability of changed colours")
    channel_shuffle: float = Field(
        0.0, ge=0, le=1, description="probability that RGB trade places, when changed"
    )


@dataclass(frozen=True)
class Draw:
    """One window's augmentation. ``top``, ``left`` in [0, 1] place the crop, None: in the middle, where
    extraction has it; ``colour`` maps 0..255.

    ``scale``: side of the crop as a share of the pictures' short side; None: the encoder's own, not resized.
    """

    top: float | None = None
    left: float | None = None
    scale: float | None = None
    flip: bool = False
    angle_deg: float = 0.0
    colour: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None  # (matrix [3, 3], offset [3])


def draw_augmentation(rng: np.random.Generator, config: AugmentConfig) -> Draw:
    """Every number is drawn whatever is switched on, so that one switch leaves the others' draws alone."""
    top, left, flip, turn, angle, changed = rng.random(6)
    colour = _draw_colour(rng, config.channel_shuffle)
    scale = rng.uniform(config.scale, 1.0)
    return Draw(
        top=top if config.crop else None,
        left=left if config.crop else None,
        scale=scale if config.scale < 1 else None,
        flip=bool(flip < config.flip),
        angle_deg=(2 * angle - 1) * config.rotation_deg if turn < config.rotation else 0.0,
        colour=colour if changed < config.photometric else None,
    )


def _draw_colour(rng: np.random.Generator, shuffle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    use = rng.random(4) < (0.5, 0.5, 0.5, shuffle)
    brightness = rng.uniform(-32, 32) * use[0]
    contrast = rng.uniform(0.5, 1.5) if use[1] else 1.0
    saturation = rng.uniform(0.5, 1.5) if use[2] else 1.0
    hue = math.radians(rng.uniform(-18, 18))
    permutation = rng.permutation(3) if use[3] else np.arange(3)
    turn = saturation * np.array([[math.cos(hue), -math.sin(hue)], [math.sin(hue), math.cos(hue)]])
    chroma = np.eye(3)
    chroma[1:, 1:] = turn
    matrix = contrast * (np.linalg.inv(_YIQ) @ chroma @ _YIQ)
    return matrix[permutation], np.full(3, brightness * contrast)


def apply_augmentation(frames: NDArray[np.uint8], crop: int, draw: Draw) -> Tensor:
    """Pictures uint8 [n, H, W, 3] with H, W >= crop -> uint8 tensor [n, crop, crop, 3]."""
    return change(cut(frames, crop, draw), draw, colour_tensors(draw))


def cut(frames: NDArray[np.uint8], crop: int, draw: Draw) -> Tensor:
    """The first part of an augmentation: a square of the pictures, resized where the draw says so."""
    _, height, width, _ = frames.shape
    side = crop if draw.scale is None else max(1, round(draw.scale * min(height, width)))
    pictures = torch.from_numpy(np.ascontiguousarray(crop_square(frames, side, draw.top, draw.left)))
    return pictures if side == crop else _resize(pictures, crop)


def colour_tensors(draw: Draw) -> list[Tensor]:
    """Matrix [3, 3] and offset [3] of a draw, float32 on the host; none where colours stay."""
    return [] if draw.colour is None else [torch.from_numpy(a).float() for a in draw.colour]


def change(pictures: Tensor, draw: Draw, colour: Sequence[Tensor]) -> Tensor:
    """The second part, on the pictures' device: colours, rotation, mirror; uint8 [n, crop, crop, 3].

    ``colour``: `colour_tensors` on that device. Devices round apart by a grey level now and then.
    """
    if colour:
        matrix, offset = colour
        pictures = (pictures.float() @ matrix.t() + offset).round_().clamp_(0, 255).to(torch.uint8)
    if draw.angle_deg:
        pictures = _rotate(pictures, draw.angle_deg)
    return pictures.flip(2) if draw.flip else pictures


def _resize(pictures: Tensor, side: int) -> Tensor:
    """Bilinear, with a low-pass filter where it shrinks."""
    planes = pictures.permute(0, 3, 1, 2).float()  # [n, 3, H, W]
    resized = F.interpolate(planes, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return _pictures(resized)


def _rotate(pictures: Tensor, angle_deg: float) -> Tensor:
    """Bilinear rotation about the middle; beyond the border the picture is mirrored."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    (theta,) = upload([torch.tensor([[c, -s, 0.0], [s, c, 0.0]])], pictures.device)
    planes = pictures.permute(0, 3, 1, 2).float()  # [n, 3, H, W]
    grid = F.affine_grid(theta.expand(len(pictures), 2, 3), list(planes.shape), align_corners=False)
    turned = F.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _pictures(turned)


def _pictures(planes: Tensor) -> Tensor:
    """Float [n, 3, H, W] -> uint8 [n, H, W, 3]."""
    return planes.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
