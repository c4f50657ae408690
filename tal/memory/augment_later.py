"""Augmentation on the device: loader workers cut the pictures, the rest is done where the encoder is.

Colours, rotation and mirror take a processor core longer than decoding takes, and a GPU next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.device import upload
from tal.memory.augment import Draw, change, colour_tensors


@dataclass(frozen=True)
class Change:
    """What is still to be done to the clips of one window.

    Attributes
    ----------
    draw
        the window's augmentation, its pictures being cut already.
    valid
        bool [m, L]: pictures that the video has; those beyond become black.
    """

    draw: Draw
    valid: NDArray[np.bool_]


def change_clips(frames: Tensor, changes: Sequence[Change]) -> Tensor:
    """The clips of all windows, uint8 [M, L, h, w, 3], changed; nobody waits for the device.

    A clip at a time: as float32 a step's pictures would take four times their memory.
    """
    colours = [colour_tensors(each.draw) for each in changes]
    valid = [torch.from_numpy(each.valid).to(torch.uint8)[..., None, None, None] for each in changes]
    on_device = iter(upload([*chain(*colours), *valid], frames.device))
    colours = [list(islice(on_device, len(pair))) for pair in colours]
    masks = torch.cat(list(on_device))
    changed = torch.empty_like(frames)
    clip = 0
    for each, colour in zip(changes, colours, strict=True):
        for _ in each.valid:
            torch.mul(change(frames[clip], each.draw, colour), masks[clip], out=changed[clip])
            clip += 1
    assert clip == len(frames), "changes are of other clips"
    return changed
