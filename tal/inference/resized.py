"""Rows of a video brought to one number, for models that learnt every video so."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tal.grid import FeatureGrid


def resize_rows(
    rows: NDArray[np.floating] | Tensor, grid: FeatureGrid, count: int
) -> tuple[Tensor, FeatureGrid]:
    """Rows [T, C] interpolated linearly to ``count``, float32, and the grid that places them in time.

    The stretch that the rows cover is cut into ``count`` equal parts, each row stands in the middle of its
    part (ActionFormer, libs/datasets/anet.py, ``force_upsampling``). The whole of a video has to be given.
    """
    sequence = torch.as_tensor(rows).float().t()[None]
    resized = F.interpolate(sequence, size=count, mode="linear", align_corners=False)[0].t()
    covered = (len(rows) - 1) * grid.stride_frames + grid.window_frames
    return resized, FeatureGrid(grid.fps, covered / count, covered / count, grid.start_frame)
