"""Rows of a whole video from the encoder as it stands: what validation sees."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tal.encoders import Encoder, encode_video
from tal.memory.sampler import TrainingVideo


def encode_whole(encoder: Encoder, video: TrainingVideo, device: torch.device | str) -> NDArray[np.float32]:
    """float32 [rows, C] of a video, streamed clip by clip; rows that the file does not fill stay zero."""
    rows: NDArray[np.float32] | None = None
    for start, part, count in encode_video(encoder, video.path, video.fps, device):
        if rows is None:
            rows = np.zeros((video.num_rows, part.shape[1]), dtype=np.float32)
        stop = min(start + count, video.num_rows)
        rows[start:stop] = part[: stop - start]
    assert rows is not None  # a video has at least one row
    return rows
