"""Features of a whole video, clip by clip, in bounded memory."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.device import best_size, computing_in, out_of_memory
from tal.encoders.base import Encoder
from tal.video import VideoReader, open_video
from tal.video.clips import clips_of

# Pictures of a batch at most.
_BATCH_BYTES = 512 << 20
# Rows of a video up to this size stay in memory; those of longer ones go through a temporary file.
ROWS_IN_MEMORY_BYTES = 16 << 20


def clips_at_once(encoder: Encoder, device: torch.device) -> int:
    """Clips in a batch without gradient: 4 on a CPU, 16 elsewhere.

    Of clips below 8 frames more: as many pictures as that many clips of 8 frames have.
    """
    clips = 4 if device.type == "cpu" else 16
    return max(clips, -(-8 * clips // encoder.grid.clip_frames))


def fastest_batch(encoder: Encoder, device: torch.device, precision: str) -> int:
    """Clips in a batch that a GPU encodes at the highest rate: tried, doubled from `clips_at_once` on.

    Takes a few seconds, which a long extraction wins back. Elsewhere than on CUDA, as `clips_at_once`: on a
    CPU batches of several sizes would be as fast, and round differently.
    """
    start = clips_at_once(encoder, device)
    if device.type != "cuda":
        return start
    clip_bytes = math.prod(encoder.clip_shape.shape)
    encoder = encoder.to(device).eval()

    def seconds_of(count: int) -> float | None:
        frames = torch.zeros(count, *encoder.clip_shape.shape, dtype=torch.uint8)
        try:
            infer_clips(encoder, frames, device, precision)  # chooses kernels
            torch.cuda.synchronize(device)
            begun = time.perf_counter()
            infer_clips(encoder, frames, device, precision)
            torch.cuda.synchronize(device)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            return None
        return time.perf_counter() - begun

    size = best_size(start, _BATCH_BYTES // clip_bytes, seconds_of)
    torch.cuda.empty_cache()
    return size


def encode_clips(encoder: Encoder, frames: Tensor) -> Tensor:
    """Pictures uint8 [M, L_c, crop, crop, 3] -> rows [M, R, C]: the one way, whoever asks.

    Gradients, autocast and mode are the caller's.
    """
    rows: Tensor = encoder(encoder.preprocess.normalise(frames))  # [M, C, R]
    return rows.transpose(1, 2)


@torch.inference_mode()
def infer_clips(encoder: Encoder, frames: Tensor, device: torch.device, precision: str = "fp32") -> Tensor:
    """`encode_clips` without gradient: float32 rows [M, R, C] on ``device``, computed in ``precision``."""
    with computing_in(precision, device):
        rows = encode_clips(encoder, frames.to(device, non_blocking=True))
    return rows.float()


def encode_video(
    encoder: Encoder,
    video: VideoReader | str | os.PathLike[str],
    fps: float,
    device: str | torch.device = "cpu",
    batch_clips: int = 0,
    precision: str = "fp32",
    reader: str = "auto",
) -> Iterator[tuple[int, NDArray[np.float32], int]]:
    """Rows of a whole video: clips at absolute multiples of the clip length, ``batch_clips`` at once.

    The encoder is put in eval mode. Frames behind the video's end are black; rows of such frames alone are
    left out.

    Parameters
    ----------
    video
        a file, or a reader that stays open.
    fps
        sampling rate, frames a second.
    batch_clips
        0: as many as `clips_at_once` says.
    precision
        of the arithmetic: fp32, tf32, bf16 or fp16.
    reader
        of a file, see `open_video`.

    Yields
    ------
    (start_row, rows float32 [n, C], n)

    Raises
    ------
    VideoError
        the file cannot be decoded.
    """
    encoder.eval()
    device = torch.device(device)
    batch_clips = batch_clips or clips_at_once(encoder, device)
    opened = video if isinstance(video, VideoReader) else open_video(video, reader)
    try:
        grid, shape = encoder.grid, encoder.clip_shape
        num_frames = opened.num_frames(fps)
        clips = clips_of(opened, fps, shape)
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
        if opened is not video:
            opened.close()


@contextmanager
def row_buffer(num_rows: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """float32 [num_rows, channels], zeros at first: in memory, or mapped from a temporary file when large.

    A mapped file's pages can leave memory at any time, so that a video of hours needs no more memory than a
    short one.
    """
    shape = (num_rows, channels)
    if num_rows * channels * 4 <= ROWS_IN_MEMORY_BYTES:
        yield np.zeros(shape, dtype=np.float32)
        return
    with tempfile.TemporaryDirectory(prefix="longtal-") as folder:
        yield np.memmap(Path(folder) / "rows.f32", dtype=np.float32, mode="w+", shape=shape)
