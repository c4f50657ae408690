"""Features of a whole video, clip by clip, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.encoders.base import Encoder
from tal.video import VideoReader, open_video
from tal.video.clips import clips_of


def clips_at_once(encoder: Encoder, device: torch.device) -> int:
    """Clips in a batch without gradient: 4 on a CPU, 16 elsewhere; of short clips as many pictures as that
    is of clips of 8 frames.
    """
    clips = 4 if device.type == "cpu" else 16
    return max(clips, -(-8 * clips // encoder.grid.clip_frames))


def encode_clips(encoder: Encoder, frames: Tensor) -> Tensor:
    """Pictures uint8 [M, L_c, crop, crop, 3] -> rows [M, R, C]: the one way, whoever asks.

    Gradients, autocast and mode are the caller's.
    """
    rows: Tensor = encoder(encoder.preprocess.normalise(frames))  # [M, C, R]
    return rows.transpose(1, 2)


@torch.inference_mode()
def infer_clips(encoder: Encoder, frames: Tensor, device: torch.device, precision: str = "fp32") -> Tensor:
    """`encode_clips` without gradient: float32 rows [M, R, C] on ``device``, computed in ``precision``."""
    reduced = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    with torch.autocast(device.type, dtype=reduced, enabled=reduced is not None):
        rows = encode_clips(encoder, frames.to(device, non_blocking=True))
    return rows.float()


def encode_video(
    encoder: Encoder,
    video: VideoReader | str | os.PathLike[str],
    fps: float,
    device: str | torch.device = "cpu",
    batch_clips: int = 0,
    precision: str = "fp32",
) -> Iterator[tuple[int, NDArray[np.float32], int]]:
    """Rows of a whole video: clips at absolute multiples of the clip length, ``batch_clips`` at once.

    ``batch_clips`` 0: `clips_at_once`. The encoder is put in eval mode. Frames behind the end are black; rows
    that hold none but those are not given.

    Yields
    ------
    (start_row, rows float32 [n, C], n)
    """
    encoder.eval()
    device = torch.device(device)
    batch_clips = batch_clips or clips_at_once(encoder, device)
    reader = video if isinstance(video, VideoReader) else open_video(video)
    try:
        grid, shape = encoder.grid, encoder.clip_shape
        num_frames = reader.num_frames(fps)
        clips = clips_of(reader, fps, shape)
        for first in range(0, grid.num_clips(num_frames), batch_clips):
            # always the same batch size: kernels may round differently for another
            batch = torch.zeros(batch_clips, *shape.shape, dtype=torch.uint8)
            for place, pictures in enumerate(islice(clips, batch_clips)):
                batch[place].numpy()[...] = pictures
            rows = infer_clips(encoder, batch, device, precision).flatten(0, 1)
            start = grid.first_row(first)
            kept = rows[: grid.num_rows(num_frames) - start].cpu().numpy()
            yield start, kept, len(kept)
    finally:
        if reader is not video:
            reader.close()
