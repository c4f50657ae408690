"""What a page must know of a video's file: when each picture comes, and whether browsers play it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.video.index import PacketIndex, read_index

# Suffixes that servers and browsers know as a container that they play, with the codecs in it that all play.
_PLAYED = {
    ".mp4": ("h264", "vp9", "av1"),
    ".m4v": ("h264", "vp9", "av1"),
    ".mov": ("h264",),
    ".webm": ("vp8", "vp9", "av1"),
}


@dataclass(frozen=True)
class Media:
    """``times_s`` float64 [N]: when each picture comes, seconds, as players count them."""

    times_s: NDArray[np.float64]
    duration_s: float
    fps: float
    plays: bool


def read_media(path: Path) -> Media:
    """Facts of a video's file; its packets are read once.

    Raises
    ------
    VideoError
        it is not a video, or is damaged.
    """
    index = read_index(path)
    return Media(index.times_s, index.duration_s, index.fps, _plays(path, index))


def may_play(path: Path) -> bool:
    """Whether browsers may play a file, by its name alone; `Media.plays` knows."""
    return path.suffix.lower() in _PLAYED


def _plays(path: Path, index: PacketIndex) -> bool:
    codecs = _PLAYED.get(path.suffix.lower(), ())
    plain = not (index.counted or index.edited or index.lead or index.numbering is not None)
    return index.codec in codecs and plain and index.streams == 1
