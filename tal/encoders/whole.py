"""Rows of whole videos, decoded and encoded at once, for validation, prediction and a memory anew."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tal.encoders.base import Encoder
from tal.encoders.stream import ClipEncoder, EncodedClip, encode_stream
from tal.encoders.streaming import row_buffer
from tal.errors import VideoError
from tal.shared.cores import usable_cores
from tal.video.info import VideoInfo
from tal.video.pool import Begun, DecodeTask, Finished

# (video's key, rows done, rows in all)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class WholeVideo:
    """All rows of a video.

    Attributes
    ----------
    key
        of its task.
    info, fps
        the file, and the rate that it was sampled at.
    rows
        float32 [T, C], valid until the next video is asked for.
    filled
        rows that the file fills; those behind are zeros.
    """

    key: str
    info: VideoInfo
    fps: float
    rows: NDArray[np.float32]
    filled: int


@dataclass(frozen=True)
class UnreadVideo:
    """A video that could not be decoded, and why."""

    key: str
    error: VideoError


def decoders_for(device: torch.device, processes: int = 1) -> int:
    """Decoding processes that keep a device busy: this one's share of the cores.

    None for a CPU: it has enough to do with encoding, and threads of its own for it.
    """
    return 0 if device.type == "cpu" else max(1, usable_cores() // processes)


def encode_videos(
    clips: ClipEncoder,
    tasks: Iterable[DecodeTask],
    workers: int,
    num_rows: Mapping[str, int] | None = None,
    on_progress: Progress | None = None,
) -> Generator[WholeVideo | UnreadVideo, None, None]:
    """The videos as they are through; with several workers not in the order of ``tasks``.

    Memory does not grow with the videos' lengths (`row_buffer`).

    Parameters
    ----------
    workers
        decoding processes; 0: none, this one decodes.
    num_rows
        T by key, for videos that must have so many rows: what the file does not fill is zeros, what is beyond
        is left out. Of others T is what the file has.
    """
    yield from collect_videos(clips.encoder, encode_stream(clips, tasks, workers), num_rows, on_progress)


def collect_videos(
    encoder: Encoder,
    events: Generator[Begun | EncodedClip | Finished, None, None],
    num_rows: Mapping[str, int] | None = None,
    on_progress: Progress | None = None,
) -> Generator[WholeVideo | UnreadVideo, None, None]:
    """`encode_videos` of a stream of one's own."""
    grid, wanted = encoder.grid, num_rows or {}
    open_: dict[str, WholeVideo] = {}
    with ExitStack() as buffers, closing(events) as stream:
        memory: dict[str, ExitStack] = {}
        for event in stream:
            if isinstance(event, Begun):
                there = grid.num_rows(event.num_frames)
                count = wanted.get(event.key, there)
                memory[event.key] = buffers.enter_context(ExitStack())
                rows = memory[event.key].enter_context(row_buffer(count, encoder.channels))
                open_[event.key] = WholeVideo(event.key, event.info, event.fps, rows, min(there, count))
            elif isinstance(event, EncodedClip):
                video = open_[event.key]
                start = grid.first_row(event.clip)
                stop = min(start + len(event.rows), video.filled)
                video.rows[start:stop] = event.rows[: max(0, stop - start)]
                if on_progress is not None:
                    on_progress(event.key, stop, len(video.rows))
            else:
                opened = open_.pop(event.key, None)
                if event.error:
                    yield UnreadVideo(event.key, VideoError(event.error))
                else:
                    assert opened is not None
                    yield opened
                if event.key in memory:
                    memory.pop(event.key).close()
