"""Pictures of one video: background, distractors, figure, light, sensor noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.demo.synth.config import VIDEO, SynthConfig
from pipelines.demo.synth.person import Colour, Person, motion, person
from pipelines.demo.synth.scene import Scene, make_scene
from pipelines.demo.synth.script import VideoPlan
from pipelines.demo.synth.skeleton import JOINT, joints, project

# Drawn twice as large and averaged down: smooth edges, and movement of less than a pixel is seen.
OVERSAMPLE = 2

# joint, joint, width in body units, what it wears
_PARTS = tuple(
    (JOINT[f"{s}_{a}"], JOINT[f"{s}_{b}"], width, kind)
    for s in "lr"
    for a, b, width, kind in (
        ("hip", "knee", 0.15, "thigh"),
        ("knee", "foot", 0.11, "shin"),
        ("foot", "toe", 0.09, "shoe"),
        ("shoulder", "elbow", 0.10, "upper_arm"),
        ("elbow", "hand", 0.08, "forearm"),
    )
)
_TORSO = tuple(JOINT[n] for n in ("l_shoulder", "r_shoulder", "r_hip", "l_hip"))


def render(config: SynthConfig, plan: VideoPlan) -> Iterator[NDArray[np.uint8]]:
    """Pictures uint8 [size, size, 3] of a video, in order."""
    who = person(config, plan.person)
    pixels = config.size * OVERSAMPLE
    scene = make_scene(config.rng(VIDEO, plan.index, 1), plan.num_frames, config.fps, pixels, config.size)
    positions = joints(motion(config, plan, who), who.lengths)  # [F, J, 3]
    flat, depth = project(positions, scene.view_yaw, scene.view_pitch, scene.scale, scene.foot)
    wears = _wears(who)
    for frame in range(plan.num_frames):
        canvas = _stage(scene, frame, frame / config.fps, pixels)
        _draw_person(ImageDraw.Draw(canvas), who, wears, flat[frame], depth[frame], float(scene.scale[frame]))
        small = np.asarray(canvas.reduce(OVERSAMPLE), dtype=np.float32)  # [H, W, 3]
        lit = small * (scene.tint * np.float32(scene.gain[frame])) + scene.noise[frame % len(scene.noise)]
        yield np.clip(lit, 0, 255).astype(np.uint8)


def _stage(scene: Scene, frame: int, time_s: float, pixels: int) -> Image.Image:
    left, top = (int(v) for v in scene.offset[frame])
    canvas = scene.background.crop((left, top, left + pixels, top + pixels))
    draw = ImageDraw.Draw(canvas)
    for thing in scene.distractors:
        (draw.ellipse if thing.shape == "ellipse" else draw.rectangle)(
            thing.box(time_s, pixels), fill=thing.colour
        )
    x, y = scene.foot[frame]
    wide, high = 0.42 * scene.scale[frame], 0.09 * scene.scale[frame]
    draw.ellipse((x - wide, y - high, x + wide, y + high), fill=(40, 40, 40))
    return canvas


def _wears(who: Person) -> dict[str, Colour]:
    return {
        "upper_arm": who.shirt,
        "forearm": who.skin if who.short_sleeves else who.shirt,
        "thigh": who.trousers,
        "shin": who.skin if who.short_trousers else who.trousers,
        "shoe": who.shoes,
    }


def _draw_person(
    draw: ImageDraw.ImageDraw,
    who: Person,
    wears: dict[str, Colour],
    flat: NDArray[np.float64],
    depth: NDArray[np.float64],
    scale: float,
) -> None:
    """Far parts first; ``flat`` [J, 2] pixels, ``depth`` [J]."""
    points = flat.tolist()
    far = depth.tolist()
    order: list[tuple[float, int]] = [((far[a] + far[b]) / 2, i) for i, (a, b, _, _) in enumerate(_PARTS)]
    order.append((sum(far[j] for j in _TORSO) / 4, -1))
    order.append((far[JOINT["head"]] + 0.02, -2))
    for z, part in sorted(order):
        shade = min(1.0, 0.9 + 0.35 * z) if z < 0.2 else 1.0
        if part == -1:
            _torso(draw, who, points, scale, shade)
        elif part == -2:
            _head(draw, who, points, scale)
        else:
            a, b, width, kind = _PARTS[part]
            _limb(draw, points[a], points[b], width * scale * who.girth, _shaded(wears[kind], shade))
            if kind == "forearm":
                _disc(draw, points[b], 0.055 * scale, _shaded(who.skin, shade))


def _torso(
    draw: ImageDraw.ImageDraw, who: Person, points: list[list[float]], scale: float, shade: float
) -> None:
    corners = [(points[j][0], points[j][1]) for j in _TORSO]
    colour = _shaded(who.shirt, shade)
    draw.polygon(corners, fill=colour)
    width = max(2, int(0.16 * scale * who.girth))
    for a, b in ((0, 3), (1, 2), (0, 1), (3, 2)):
        _limb(draw, corners[a], corners[b], width, colour)
    if who.stripes is not None:
        for share in (0.15, 0.4, 0.65):
            left, right = (
                [corners[a][k] * (1 - share) + corners[b][k] * share for k in (0, 1)]
                for a, b in ((0, 3), (1, 2))
            )
            draw.line((*left, *right), fill=_shaded(who.stripes, shade), width=max(1, int(0.05 * scale)))


def _head(draw: ImageDraw.ImageDraw, who: Person, points: list[list[float]], scale: float) -> None:
    head, neck = points[JOINT["head"]], points[JOINT["neck"]]
    _limb(draw, neck, head, 0.09 * scale, who.skin)
    radius = 0.5 * who.lengths["head"] * scale
    up = (head[0] - neck[0], head[1] - neck[1])
    length = max(1e-6, (up[0] ** 2 + up[1] ** 2) ** 0.5)
    crown = (head[0] + up[0] / length * 0.35 * radius, head[1] + up[1] / length * 0.35 * radius)
    _disc(draw, crown, radius, who.hair)
    _disc(draw, head, radius * 0.92, who.skin)


def _limb(
    draw: ImageDraw.ImageDraw,
    start: list[float] | tuple[float, float],
    end: list[float] | tuple[float, float],
    width: float,
    colour: Colour,
) -> None:
    draw.line((start[0], start[1], end[0], end[1]), fill=colour, width=max(2, int(width)))
    _disc(draw, start, width / 2, colour)
    _disc(draw, end, width / 2, colour)


def _disc(
    draw: ImageDraw.ImageDraw, at: list[float] | tuple[float, float], radius: float, colour: Colour
) -> None:
    draw.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)


def _shaded(colour: Colour, shade: float) -> Colour:
    return int(colour[0] * shade), int(colour[1] * shade), int(colour[2] * shade)
