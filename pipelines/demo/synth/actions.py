"""The actions of a figure: twelve labelled ones, and six unlabelled ones that resemble them.

An action maps cycles done so far (float [F], whole at both ends) to poses [F, A]. Some unlabelled actions
pass through a labelled one's poses (arms overhead, crouching, one arm up): they differ only in movement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.demo.synth.skeleton import Array, pose


@dataclass(frozen=True)
class Action:
    """One action. ``period_s``: mean seconds per cycle; 0: one cycle, whatever the action's length."""

    name: str
    period_s: float
    move: Callable[[Array], Array]
    labelled: bool = True


def _swing(c: Array) -> Array:
    """0 -> 1 -> 0 over a cycle."""
    return (1 - np.cos(2 * np.pi * c)) / 2


def _hold(c: Array) -> Array:
    """Quickly to 1, held, quickly back."""
    return np.clip(np.minimum(c, 1 - c) * 5, 0, 1)


def _turns(c: Array) -> tuple[Array, Array]:
    """Two limbs in turn, each 0 -> 1 -> 0 over half a cycle."""
    wave = np.sin(2 * np.pi * c)
    return np.maximum(wave, 0), np.maximum(-wave, 0)


def _jumping_jack(c: Array) -> Array:
    k = _swing(c)
    legs = 2 + 28 * k
    return pose(
        upper_arm_a=12 + 140 * k, forearm_a=12 + 155 * k, thigh_a=legs, shin_a=legs,
        lift=0.10 * np.abs(np.sin(2 * np.pi * c)),
    )  # fmt: skip


def _squat(c: Array) -> Array:
    k = _swing(c)
    return pose(
        thigh_f=100 * k, shin_f=-38 * k, thigh_a=10 * k, pitch=28 * k, upper_arm_f=60 * k, forearm_f=70 * k
    )


def _punch(c: Array) -> Array:
    left, right = _turns(c)
    return pose(
        l_upper_arm_f=30 + 58 * left, l_forearm_f=130 - 40 * left,
        r_upper_arm_f=30 + 58 * right, r_forearm_f=130 - 40 * right,
        twist=28 * (left - right), l_thigh_f=18, r_thigh_f=-14, l_shin_f=-4, r_shin_f=-24,
    )  # fmt: skip


def _kick(c: Array) -> Array:
    k = _swing(c)
    return pose(
        r_thigh_f=98 * k, r_shin_f=88 * k - 40 * np.sin(2 * np.pi * c).clip(0),
        upper_arm_a=30 * k, forearm_a=38 * k, pitch=-14 * k,
    )  # fmt: skip


def _bow(c: Array) -> Array:
    k = _swing(c)
    return pose(pitch=85 * k, upper_arm_f=70 * k, forearm_f=75 * k, head_pitch=15 * k)


def _windmill(c: Array) -> Array:
    # Whole turns end at 0 again, so that blending back to rest does not unwind them.
    turn = (c * 360 + 180) % 360 - 180
    return pose(upper_arm_f=turn, forearm_f=turn, upper_arm_a=14, forearm_a=14)


def _spin(c: Array) -> Array:
    # wrapped as in `_windmill`
    turn = (c * 360 + 180) % 360 - 180
    return pose(yaw=turn, upper_arm_a=88, forearm_a=88)


def _side_bend(c: Array) -> Array:
    lean = np.sin(2 * np.pi * c)
    right = np.clip(lean, 0, 1)
    left = np.clip(-lean, 0, 1)
    return pose(
        roll=42 * lean, l_upper_arm_a=30 + 140 * right, l_forearm_a=170 * right - 20 * (1 - right),
        r_upper_arm_a=30 + 140 * left, r_forearm_a=170 * left - 20 * (1 - left), thigh_a=12, shin_a=12,
    )  # fmt: skip


def _walk(c: Array) -> Array:
    s = np.sin(2 * np.pi * c)
    return pose(
        l_thigh_f=28 * s, r_thigh_f=-28 * s, l_shin_f=28 * s - 22 * (s < 0), r_shin_f=-28 * s - 22 * (s > 0),
        l_upper_arm_f=-26 * s, r_upper_arm_f=26 * s, l_forearm_f=-10 * s + 12, r_forearm_f=10 * s + 12,
    )  # fmt: skip


def _stretch(c: Array) -> Array:
    k = _hold(c)
    return pose(upper_arm_a=150 * k, forearm_a=165 * k, roll=4 * np.sin(4 * np.pi * c), head_pitch=-12 * k)


def _point(c: Array) -> Array:
    k = _hold(c)
    return pose(
        r_upper_arm_a=55 * k, r_upper_arm_f=80 * k, r_forearm_a=58 * k, r_forearm_f=82 * k, head_yaw=20 * k
    )


def _look_around(c: Array) -> Array:
    return pose(yaw=75 * np.sin(2 * np.pi * c), head_yaw=25 * np.sin(2 * np.pi * c))


def _scratch_head(c: Array) -> Array:
    k = _hold(c)
    return pose(
        r_upper_arm_a=100 * k,
        r_forearm_a=k * (215 + 8 * np.sin(16 * np.pi * c)),
        roll=-5 * k,
        head_pitch=10 * k,
    )


def _tie_shoe(c: Array) -> Array:
    k = _hold(c)
    return pose(
        l_thigh_f=95 * k, l_shin_f=2 * k, r_thigh_f=10 * k, r_shin_f=-85 * k, pitch=48 * k,
        upper_arm_f=45 * k, forearm_f=60 * k, head_pitch=20 * k, yaw=10 * k,
    )  # fmt: skip


ACTIONS = (
    Action("bow", 2.4, _bow),
    Action("jumping_jack", 1.1, _jumping_jack),
    Action("kick", 1.3, _kick),
    Action("punch", 0.9, _punch),
    Action("side_bend", 2.2, _side_bend),
    Action("spin", 1.9, _spin),
    Action("squat", 1.7, _squat),
    Action("windmill", 1.3, _windmill),
)
BACKGROUND = (
    Action("look_around", 0.0, _look_around, False),
    Action("point", 0.0, _point, False),
    Action("scratch_head", 0.0, _scratch_head, False),
    Action("stretch", 0.0, _stretch, False),
    Action("tie_shoe", 0.0, _tie_shoe, False),
    Action("walk", 1.1, _walk, False),
)
BY_NAME = {action.name: action for action in (*ACTIONS, *BACKGROUND)}
LABELS = tuple(action.name for action in ACTIONS)
