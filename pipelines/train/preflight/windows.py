"""Whether windows can be drawn, and pass the localizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipelines.config import RunConfig
from pipelines.train.findings import Findings
from tal.encoders import Encoder
from tal.inference.videos import VideoDetector, VideoRows
from tal.memory.network import MemoryNetwork
from tal.memory.sampler import TrainingVideo, WindowSampler
from tal.memory.windows import draw_window


def check_windows(
    config: RunConfig, videos: Sequence[TrainingVideo], encoder: Encoder | None, findings: Findings
) -> None:
    """A step takes each video at most once, and every video has a window."""
    rows_per_clip = encoder.grid.rows_per_clip if encoder is not None and config.end_to_end else 0
    with findings.collected():
        WindowSampler(
            videos, config.train.batch_size, config.window, config.memory, config.train.seed, rows_per_clip
        )
    with findings.collected():
        for video in _extremes(videos):
            rng = np.random.default_rng(config.train.seed)
            draw_window(rng, video.num_rows, video.segments, config.window, rows_per_clip or 1)


def _extremes(videos: Sequence[TrainingVideo]) -> list[TrainingVideo]:
    """The longest and the shortest video."""
    if not videos:
        return []
    return [max(videos, key=lambda v: v.num_rows), min(videos, key=lambda v: v.num_rows)]


@torch.no_grad()
def try_windows(
    config: RunConfig, network: MemoryNetwork, channels: int, videos: Sequence[TrainingVideo]
) -> None:
    """Blank windows of the longest and the shortest video pass the localizer, in training and in validation.

    Of a long video validation sees several windows: two are tried.
    """
    inference = config.inference.with_window(config.window.num_rows)
    labels = [str(number) for number in range(network.localizer.num_classes)]
    detector = VideoDetector(network.localizer, inference, labels)
    for video in _extremes(videos):
        shown = min(video.num_rows, config.window.num_rows)
        mask = (torch.arange(config.window.num_rows) < shown)[None, None]
        network.localizer(torch.zeros(1, channels, config.window.num_rows), mask)
        rows = np.zeros((min(video.num_rows, inference.window_rows + 1), channels), np.float32)
        detector.detect(VideoRows(video.id, rows, video.grid, video.duration_s))
