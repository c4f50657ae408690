"""What a video file says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video as it is shown: rotation applied, edit list obeyed, time 0 where players have it.

    ``num_frames`` counts pictures, ``fps`` is their average rate, gaps left out; under variable frame rate
    only the reader's ``times_s`` says when each is on screen. ``reader`` decodes the pictures: "pyav",
    "decord" or "torchcodec". ``notes`` says what was bent or chosen to read the file (parts joined, a late
    start, an edit list, a long last picture, one of several streams), a phrase each.
    """

    path: Path
    duration_s: float
    fps: float
    num_frames: int
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    reader: str
    notes: tuple[str, ...] = ()

    def scaled(self, size: int | None) -> tuple[int, int]:
        """(width, height) with the short side at ``size``, aspect kept; the video's own without one."""
        if size is None:
            return self.width, self.height
        short = min(self.width, self.height)
        return max(1, round(self.width * size / short)), max(1, round(self.height * size / short))
