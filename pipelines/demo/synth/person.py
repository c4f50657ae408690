"""How a person looks and moves; all of it follows from the person's number."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from pipelines.demo.synth.actions import BY_NAME
from pipelines.demo.synth.config import PEOPLE, VIDEO, SynthConfig
from pipelines.demo.synth.script import BLEND_S, VideoPlan
from pipelines.demo.synth.skeleton import INDEX, PROPORTIONS, Array, mirror, pose

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Person:
    lengths: dict[str, float]
    girth: float
    amplitude: float
    skin: Colour
    hair: Colour
    shirt: Colour
    stripes: Colour | None
    trousers: Colour
    shoes: Colour
    short_sleeves: bool
    short_trousers: bool


def person(config: SynthConfig, number: int) -> Person:
    """The person of this number; the same in every video of the data set."""
    rng = config.rng(PEOPLE, number)
    size = rng.uniform(0.92, 1.08)
    lengths = {name: value * size * rng.uniform(0.93, 1.07) for name, value in PROPORTIONS.items()}
    tone = rng.uniform(0.35, 1.0)
    return Person(
        lengths=lengths,
        girth=rng.uniform(0.8, 1.3),
        amplitude=rng.uniform(0.92, 1.08),
        skin=(int(235 * tone), int(190 * tone), int(160 * tone)),
        hair=_colour(rng, 20, 140),
        shirt=_vivid(rng),
        stripes=_vivid(rng) if rng.random() < 0.5 else None,
        trousers=_vivid(rng, 0.75),
        shoes=_colour(rng, 10, 250),
        short_sleeves=bool(rng.random() < 0.5),
        short_trousers=bool(rng.random() < 0.35),
    )


def motion(config: SynthConfig, plan: VideoPlan, who: Person) -> Array:
    """Pose vectors [F, A] of a video: rest, with each event blended in and out."""
    rng = config.rng(VIDEO, plan.index, 2)
    times_s = np.arange(plan.num_frames) / config.fps
    poses = _rest(rng, times_s)
    rest = poses.copy()
    for event in plan.events:
        inside = (times_s >= event.start_s) & (times_s < event.end_s)
        t = times_s[inside]
        if not len(t):
            continue
        length = event.end_s - event.start_s
        moved = BY_NAME[event.action].move((t - event.start_s) / length * event.cycles) * who.amplitude
        moved[:, INDEX["yaw"]] += event.yaw
        if event.mirrored:
            moved = mirror(moved)
        ends = np.clip(np.minimum(t - event.start_s, event.end_s - t) / BLEND_S, 0, 1)
        weight = (ends * ends * (3 - 2 * ends))[:, None]
        poses[inside] = rest[inside] * (1 - 0.8 * weight) + moved * weight
    return poses


def _rest(rng: np.random.Generator, times_s: Array) -> Array:
    """Standing about: breathing, shifting weight, arms hanging or slightly bent."""

    def sway(size: float) -> Array:
        rate, phase = rng.uniform(0.1, 0.35), rng.uniform(0, 2 * np.pi)
        return size * np.sin(2 * np.pi * rate * times_s + phase)

    apart = rng.uniform(2, 9)
    return pose(
        yaw=sway(6), pitch=rng.uniform(-2, 5) + sway(2), roll=sway(2), twist=sway(4),
        head_yaw=sway(12), head_pitch=sway(5), shift=sway(0.06),
        upper_arm_a=rng.uniform(6, 16), forearm_a=rng.uniform(4, 12),
        upper_arm_f=sway(4), forearm_f=rng.uniform(3, 25) + sway(5), thigh_a=apart, shin_a=apart,
    )  # fmt: skip


def _colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    r, g, b = (int(v) for v in rng.integers(low, high, 3))
    return r, g, b


def _vivid(rng: np.random.Generator, brightness: float = 1.0) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.8) * brightness)
    return int(255 * r), int(255 * g), int(255 * b)
