"""A copy of a video with its detections drawn over it: names while they last, a strip of time below."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.shared.files import require_new
from tal.grid import FrameGrid
from tal.video import open_video
from tal.video.writer import VideoWriter

_LEAST_WIDTH = 480  # smaller videos are enlarged: text needs room
_AT_ONCE = 32  # pictures decoded at once
_MAX_LANES = 6
# Okabe and Ito's colours, readable without telling red from green; the name stands beside each.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#BBBBBB")


@dataclass(frozen=True)
class _Bar:
    start_s: float
    end_s: float
    label: str
    score: float
    lane: int


def write_overlay(
    video: str | Path,
    detections: pd.DataFrame,
    out: str | Path,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    reader: str = "auto",
) -> Path:
    """Write ``out`` (mp4, without sound): the video at its own rate, with labels while detections last.

    Parameters
    ----------
    detections
        columns start_s, end_s, label, score of this video; those worth showing.
    reader
        decodes the video.

    Raises
    ------
    VideoError
        the video cannot be decoded or the file not be written.
    """
    target = Path(out)
    require_new([target], overwrite)
    with open_video(video, reader) as source:
        info = source.info
        sampling = FrameGrid(info.fps)
        total = sampling.num_frames(info.duration_s)
        width, height = _even_size(info.width, info.height)
        painter = _Painter(width, height, info.duration_s, detections)
        with VideoWriter(target, info.fps, gop=max(1, round(info.fps)), crf=22, threads=0) as writer:
            for first in range(0, total, _AT_ONCE):
                frames = np.arange(first, min(total, first + _AT_ONCE))
                pictures, _ = source.frames(frames, info.fps)
                for k, picture in zip(frames.tolist(), pictures, strict=True):
                    writer.add(painter.paint(picture, sampling.to_seconds(k)))
                if on_progress is not None:
                    on_progress(int(frames[-1]) + 1, total)
    return target


def _even_size(width: int, height: int) -> tuple[int, int]:
    factor = max(1, math.ceil(_LEAST_WIDTH / width))
    return width * factor // 2 * 2, height * factor // 2 * 2


class _Painter:
    """Draws on pictures of one video."""

    def __init__(self, width: int, height: int, duration_s: float, detections: pd.DataFrame) -> None:
        self.width, self.height, self.duration_s = width, height, max(duration_s, 1e-6)
        self.bars = _lanes(detections)
        names = sorted({bar.label for bar in self.bars})
        self.colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self.font = _font(max(14, height // 24))
        self.lane_height = max(5, height // 48)
        lanes = 1 + max((bar.lane for bar in self.bars), default=0)
        self.strip_height = (lanes * self.lane_height + 9) // 2 * 2
        self.strip = self._strip()

    def _strip(self) -> Image.Image:
        strip = Image.new("RGB", (self.width, self.strip_height), "#16191D")
        draw = ImageDraw.Draw(strip)
        for bar in self.bars:
            x0, x1 = self._x(bar.start_s), max(self._x(bar.end_s), self._x(bar.start_s) + 2)
            top = 4 + bar.lane * self.lane_height
            draw.rectangle((x0, top, x1, top + self.lane_height - 2), fill=self.colours[bar.label])
        return strip

    def _x(self, seconds: float) -> float:
        return seconds / self.duration_s * (self.width - 1)

    def paint(self, picture: NDArray[np.uint8], time_s: float) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] -> uint8 [height + strip, width, 3]."""
        canvas = Image.new("RGB", (self.width, self.height + self.strip_height))
        canvas.paste(Image.fromarray(picture).resize((self.width, self.height), Image.Resampling.BILINEAR))
        canvas.paste(self.strip, (0, self.height))
        draw = ImageDraw.Draw(canvas)
        now = sorted((b for b in self.bars if b.start_s <= time_s < b.end_s), key=lambda b: -b.score)
        y = 6
        for bar in now[:_MAX_LANES]:
            y = self._name(draw, bar, y)
        x = self._x(time_s)
        draw.rectangle((x - 1, self.height, x + 1, self.height + self.strip_height), fill="white")
        return np.asarray(canvas)

    def _name(self, draw: ImageDraw.ImageDraw, bar: _Bar, y: int) -> int:
        """A coloured tag, then name and score on dark ground; returns where the next one goes."""
        text = f"{bar.label}  {bar.score:.2f}"
        _, _, right, bottom = draw.textbbox((24, y + 4), text, font=self.font)
        draw.rectangle((6, y, right + 8, bottom + 5), fill="#16191D")
        draw.rectangle((10, y + 4, 18, bottom + 1), fill=self.colours[bar.label])
        draw.text((24, y + 4), text, font=self.font, fill="white")
        return int(bottom) + 9


def _lanes(detections: pd.DataFrame) -> list[_Bar]:
    """Bars, each in the first lane that is free, else in the last one."""
    ends: list[float] = []
    bars = []
    ordered = detections.sort_values("start_s", kind="stable")
    for start, end, label, score in zip(
        *(ordered[c].tolist() for c in ("start_s", "end_s", "label", "score")), strict=True
    ):
        lane = next((i for i, e in enumerate(ends) if e <= start), len(ends))
        if lane == len(ends) and lane < _MAX_LANES:
            ends.append(end)
        lane = min(lane, _MAX_LANES - 1)
        ends[lane] = max(end, ends[lane])
        bars.append(_Bar(start, end, str(label), score, lane))
    return bars


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
