"""Encode videos during a run: what validation and a memory anew have in common."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from accelerate import Accelerator

from pipelines.config import RunConfig
from pipelines.shared.dealing import deal
from tal.encoders import Encoder, clips_at_once
from tal.encoders.stream import ClipEncoder
from tal.encoders.whole import UnreadVideo, WholeVideo, decoders_for, encode_videos
from tal.memory.sampler import TrainingVideo
from tal.video.pool import DecodeTask


def encode_training_videos(
    encoder: Encoder, videos: Sequence[TrainingVideo], config: RunConfig, accelerator: Accelerator
) -> Generator[WholeVideo, None, None]:
    """Each video's rows, as many as training counts, in the run's precision; decoded by ``train.workers``.

    Raises
    ------
    VideoError
        one cannot be decoded any more.
    """
    device = accelerator.device
    clips = ClipEncoder(encoder, device, clips_at_once(encoder, device), config.train.precision)
    tasks = (DecodeTask(v.id, Path(v.path), config.data.reader, v.fps) for v in videos)
    workers = loader_workers(config, accelerator)
    with closing(encode_videos(clips, tasks, workers, {v.id: v.num_rows for v in videos})) as all_:
        for video in all_:
            if isinstance(video, UnreadVideo):
                raise video.error
            yield video


def loader_workers(config: RunConfig, accelerator: Accelerator) -> int:
    """``train.workers``, of which -1 is this process's share of the cores, and none on a CPU."""
    if config.train.workers >= 0:
        return config.train.workers
    here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))  # torchrun's, of this machine
    return decoders_for(accelerator.device, here)


def share_by_duration(
    videos: Sequence[TrainingVideo], processes: int, allowed: Mapping[str, Sequence[int]] | None = None
) -> list[list[TrainingVideo]]:
    """The videos in parts of about the same length together, one for each process, in their order.

    The longest goes first, each to the process that has the least so far; ``allowed`` (by id) says which
    processes can take a video, None: all.
    """
    owner = deal({video.id: video.duration_s for video in videos}, processes, allowed)
    return [[v for v in videos if owner[v.id] == process] for process in range(processes)]
