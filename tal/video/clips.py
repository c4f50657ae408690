"""The clips of a video, cut to the square that an encoder sees; plain numpy, also in decoding workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.errors import ConfigError
from tal.grid import ClipGrid
from tal.video.reader import VideoReader


@dataclass(frozen=True, slots=True)
class ClipShape:
    """What a decoded clip is: its frames, the pictures' short side, and the side of the square kept."""

    grid: ClipGrid
    size: int
    crop: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(L_c, crop, crop, 3) of one clip's array."""
        return self.grid.clip_frames, self.crop, self.crop, 3


def crop_square(
    frames: NDArray[np.uint8], side: int, top: float | None = None, left: float | None = None
) -> NDArray[np.uint8]:
    """A square of the pictures: uint8 [n, H, W, 3] -> a view [n, side, side, 3].

    Parameters
    ----------
    top, left
        where it lies, as a share in [0, 1] of the room there is; None: in the middle.

    Raises
    ------
    ConfigError
        the pictures are smaller than the square.
    """
    height, width = frames.shape[1:3]
    if height < side or width < side:
        raise ConfigError(
            f"pictures of {width}x{height} are smaller than the crop of {side}: read them at a larger size"
        )
    y, x = _place(top, height - side), _place(left, width - side)
    return frames[:, y : y + side, x : x + side]


def _place(share: float | None, room: int) -> int:
    return room // 2 if share is None else min(int(share * (room + 1)), room)


def clips_of(reader: VideoReader, fps: float, shape: ClipShape) -> Iterator[NDArray[np.uint8]]:
    """The clips of a video in order, the middle square of each, uint8 [L_c, crop, crop, 3].

    Black behind the end of the video. VideoError where the file is damaged.
    """
    for clip in range(shape.grid.num_clips(reader.num_frames(fps))):
        pictures, _ = reader.frames(shape.grid.frames_of_clip(clip), fps, size=shape.size)
        yield crop_square(pictures, shape.crop)
