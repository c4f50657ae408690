"""The scene: textured background, distractors, camera and light, all independent of the action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.demo.synth.skeleton import Array


@dataclass(frozen=True)
class Distractor:
    """A thing that moves to and fro on its own."""

    shape: str
    colour: tuple[int, int, int]
    size: float
    centre: tuple[float, float]
    reach: tuple[float, float]
    rate_hz: tuple[float, float]
    phase: tuple[float, float]

    def box(self, time_s: float, pixels: int) -> tuple[float, float, float, float]:
        x, y = (
            (c + r * np.sin(2 * np.pi * (f * time_s + p))) * pixels
            for c, r, f, p in zip(self.centre, self.reach, self.rate_hz, self.phase, strict=True)
        )
        half = self.size * pixels
        return (x - half, y - half, x + half, y + half)


@dataclass(frozen=True)
class Scene:
    """Positions are shares of the picture's side; series are by frame."""

    background: Image.Image  # larger than the picture, so that the camera can move
    distractors: tuple[Distractor, ...]
    offset: Array  # [F, 2] pixels of the background at the picture's corner
    scale: Array  # [F] pixels a body unit
    foot: Array  # [F, 2] pixel on which the figure stands
    view_yaw: Array  # [F] degrees
    view_pitch: float
    gain: Array  # [F] brightness
    tint: NDArray[np.float32]  # [3]
    noise: NDArray[np.int16]  # [8, H, W, 3] at the final size, taken in turn


def make_scene(rng: np.random.Generator, num_frames: int, fps: float, pixels: int, size: int) -> Scene:
    """A scene drawn at ``pixels`` a side for pictures of ``size`` a side."""
    times_s = np.arange(num_frames) / fps
    margin = max(8, pixels // 8)
    shake = _wander(rng, num_frames, fps, 0.006 * pixels)  # [F, 2]
    drift = np.stack([_slow(rng, times_s, 0.045 * pixels), _slow(rng, times_s, 0.015 * pixels)], -1)
    camera = np.clip(shake + drift, -margin + 1, margin - 1)
    zoom = rng.uniform(0.94, 1.06) * (1 + _slow(rng, times_s, 0.03))
    stand = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.88, 0.94)]) * pixels
    walk = np.stack([_slow(rng, times_s, 0.05 * pixels), np.zeros(num_frames)], -1)
    return Scene(
        background=_background(rng, pixels + 2 * margin),
        distractors=tuple(_distractor(rng) for _ in range(rng.integers(1, 3))),
        offset=margin + camera,
        scale=0.41 * pixels * zoom,
        foot=stand + walk - camera,
        # from aside: what an arm or a leg does forwards is seen as well as what it does sideways
        view_yaw=rng.choice((-1, 1)) * rng.uniform(18, 45) + _slow(rng, times_s, 8),
        view_pitch=float(rng.uniform(0, 22)),
        gain=rng.uniform(0.75, 1.15) * (1 + _slow(rng, times_s, 0.1)),
        tint=rng.uniform(0.9, 1.1, 3).astype(np.float32),
        noise=(rng.normal(0, rng.uniform(1, 4), (8, size, size, 3))).astype(np.int16),
    )


def _slow(rng: np.random.Generator, times_s: Array, size: float) -> Array:
    rate, phase = rng.uniform(0.02, 0.12), rng.uniform(0, 2 * np.pi)
    return size * np.sin(2 * np.pi * rate * times_s + phase)


def _wander(rng: np.random.Generator, num_frames: int, fps: float, size: float) -> Array:
    """Hand shake: white noise through a filter with a memory of about a quarter of a second, [F, 2]."""
    keep = float(np.exp(-4.0 / fps))
    push = rng.normal(0, size * np.sqrt(1 - keep * keep), (num_frames, 2))
    for i in range(1, num_frames):
        push[i] += keep * push[i - 1]
    return push


def _background(rng: np.random.Generator, pixels: int) -> Image.Image:
    """Smooth colour noise at several scales, a floor, and things on the wall."""
    # light and calm, so that a figure stands out of it
    wall = np.full((pixels, pixels, 3), rng.uniform(125, 215, 3), dtype=np.float32)
    for cells in (3, 9, 30):
        patch = rng.normal(0, rng.uniform(2, 9), (cells, cells, 3)).astype(np.float32)
        coarse = np.clip(patch + 128, 0, 255).astype(np.uint8)
        fine = Image.fromarray(coarse).resize((pixels, pixels), Image.Resampling.BICUBIC)
        wall += np.asarray(fine, np.float32) - 128
    wall = wall.mean(-1, keepdims=True) + rng.uniform(0.1, 0.4) * (wall - wall.mean(-1, keepdims=True))
    picture = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, pixels, 2)
        w, h = rng.uniform(0.04, 0.3, 2) * pixels
        colour = tuple(int(v) for v in rng.integers(30, 230, 3))
        if rng.random() < 0.6:
            draw.rectangle((x, y, x + w, y + h), fill=colour)
        else:
            draw.ellipse((x, y, x + w, y + h), fill=colour)
    if rng.random() < 0.5:
        step = int(rng.integers(8, 30) * pixels / 256) + 2
        colour = tuple(int(v) for v in rng.integers(30, 230, 3))
        for x in range(0, pixels, step):
            draw.line((x, 0, x, pixels), fill=colour, width=1)
    floor = rng.uniform(0.62, 0.85) * pixels
    draw.rectangle((0, floor, pixels, pixels), fill=tuple(int(v) for v in rng.integers(40, 200, 3)))
    grain = np.asarray(picture, np.float32) + rng.normal(0, 6, (pixels, pixels, 1))
    return Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8))


def _distractor(rng: np.random.Generator) -> Distractor:
    def pair(low: float, high: float) -> tuple[float, float]:
        a, b = rng.uniform(low, high, 2)
        return float(a), float(b)

    colour = tuple(int(v) for v in rng.integers(20, 240, 3))
    return Distractor(
        shape=("ellipse", "rectangle")[rng.integers(2)],
        colour=(colour[0], colour[1], colour[2]),
        size=float(rng.uniform(0.015, 0.05)),
        centre=(
            float(rng.choice([rng.uniform(0.05, 0.3), rng.uniform(0.7, 0.95)])),
            float(rng.uniform(0.05, 0.8)),
        ),
        reach=pair(0.0, 0.2),
        rate_hz=pair(0.05, 0.9),
        phase=pair(0, 1),
    )
