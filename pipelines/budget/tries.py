"""Time pieces of work several times. The best try is what one costs; the others show what else went on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.streaming import clips_at_once, infer_clips
from tal.errors import VideoError
from tal.grid import ClipGrid
from tal.video import open_video

TRIES = 3
_PATIENCE_S = 4.0


def time_tries(
    work: Callable[[], object], device: torch.device, most: int = TRIES, patience_s: float = _PATIENCE_S
) -> tuple[float, ...]:
    """Seconds of each try, until ``device`` is done. The first run is not a try: it also sets things up.

    Parameters
    ----------
    most
        tries at most; at least one is made.
    patience_s
        seconds, the first run's included, after which no further try begins.
    """
    begin = time.perf_counter()
    _run(work, device)
    seconds = [_run(work, device)]
    while len(seconds) < most and time.perf_counter() - begin < patience_s:
        seconds.append(_run(work, device))
    return tuple(seconds)


def time_encoding(settings: EncoderConfig, device: torch.device) -> tuple[int, tuple[float, ...]]:
    """Channels of a row, and seconds per clip of each try: in extraction's batches, with random weights."""
    encoder = build_encoder(settings.without_weights())
    encoder.to(device).eval()
    batch = clips_at_once(encoder, device)
    pictures = torch.randint(0, 256, (batch, *encoder.clip_shape.shape), dtype=torch.uint8)
    tries = time_tries(lambda: infer_clips(encoder, pictures, device), device)
    return encoder.channels, tuple(seconds / batch for seconds in tries)


def time_decoding(
    paths: Sequence[Path], fps: float, grid: ClipGrid, size: int, reader: str
) -> tuple[list[list[float]], list[list[float]]]:
    """Seconds of a clip in the middle of each video, and of the clip after it: a list of tries a video.

    Parameters
    ----------
    fps
        sampling rate, frames a second.
    size
        short side of the pictures.
    reader
        decodes the videos.
    """
    middle: dict[Path, list[float]] = {}
    following: dict[Path, list[float]] = {}
    begin = time.perf_counter()
    for turn in range(TRIES):
        for path in paths:
            if turn and time.perf_counter() - begin > _PATIENCE_S:
                break
            # damaged inside: extraction will say so
            with suppress(VideoError), open_video(path, reader) as video:
                first = max(0, grid.num_clips(video.num_frames(fps)) // 2 - 1)
                for clip, tries in ((first, middle), (first + 1, following)):
                    start = time.perf_counter()
                    video.frames(grid.frames_of_clip(clip), fps=fps, size=size)
                    tries.setdefault(path, []).append(time.perf_counter() - start)
    return list(middle.values()), list(following.values())


def _run(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - start
