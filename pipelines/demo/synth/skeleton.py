"""The figure: joint angles -> joint positions in space -> positions in the picture.

Body axes: x to the figure's right, y up, z forward; lengths in metres or so, angles in degrees. A limb
that hangs down has all angles 0; ``_a`` lifts it sideways away from the body, ``_f`` swings it forward.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMBS = ("upper_arm", "forearm", "thigh", "shin")
# Whole-body angles and offsets first, then for each limb of each side its two angles.
WHOLE = ("yaw", "pitch", "roll", "twist", "head_yaw", "head_pitch", "lift", "shift")
ANGLES = (*WHOLE, *(f"{s}_{limb}_{k}" for s in "lr" for limb in LIMBS for k in "af"))
INDEX = {name: i for i, name in enumerate(ANGLES)}

JOINTS = (
    "pelvis", "neck", "head",
    "l_shoulder", "l_elbow", "l_hand", "r_shoulder", "r_elbow", "r_hand",
    "l_hip", "l_knee", "l_foot", "r_hip", "r_knee", "r_foot", "l_toe", "r_toe",
)  # fmt: skip
JOINT = {name: i for i, name in enumerate(JOINTS)}

# Lengths of an average person: head to sole 1.75.
PROPORTIONS = {
    "torso": 0.52, "head": 0.24, "shoulders": 0.20, "hips": 0.11,
    "upper_arm": 0.30, "forearm": 0.32, "thigh": 0.43, "shin": 0.44, "foot": 0.16,
}  # fmt: skip

_OTHER_SIDE = {"l_": "r_", "r_": "l_"}
_MIRRORED = np.array([INDEX[_OTHER_SIDE.get(n[:2], n[:2]) + n[2:]] for n in ANGLES])
_SIGN = np.array([-1.0 if n in ("yaw", "roll", "twist", "head_yaw", "shift") else 1.0 for n in ANGLES])


def pose(**angles: float | Array) -> Array:
    """Angles by name -> pose vectors [..., len(ANGLES)]; angles that are not named are 0.

    ``arm_*`` and ``leg_*`` names (``upper_arm_a``) without a side set both sides.
    """
    shape = np.broadcast_shapes(*(np.shape(v) for v in angles.values()))
    result = np.zeros((*shape, len(ANGLES)))
    for name, value in angles.items():
        for full in (name,) if name in INDEX else (f"l_{name}", f"r_{name}"):
            result[..., INDEX[full]] = value
    return result


def mirror(poses: Array) -> Array:
    """Left and right exchanged."""
    return poses[..., _MIRRORED] * _SIGN


def _about_x(v: Array, degrees: Array) -> Array:
    """Rotate so that forward pitch is positive: up goes forward."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([v[..., 0], v[..., 1] * c - v[..., 2] * s, v[..., 1] * s + v[..., 2] * c], -1)


def _about_y(v: Array, degrees: Array) -> Array:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([v[..., 0] * c + v[..., 2] * s, v[..., 1], -v[..., 0] * s + v[..., 2] * c], -1)


def _about_z(v: Array, degrees: Array) -> Array:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([v[..., 0] * c + v[..., 1] * s, -v[..., 0] * s + v[..., 1] * c, v[..., 2]], -1)


def _limb(poses: Array, side: str, limb: str) -> Array:
    """Unit directions [F, 3] of a limb."""
    a = np.radians(poses[:, INDEX[f"{side}_{limb}_a"]])
    f = np.radians(poses[:, INDEX[f"{side}_{limb}_f"]])
    out = 1.0 if side == "r" else -1.0
    return np.stack([out * np.sin(a), -np.cos(a) * np.cos(f), np.cos(a) * np.sin(f)], -1)


def joints(poses: Array, lengths: dict[str, float]) -> Array:
    """Pose vectors [F, A] -> joint positions [F, J, 3]; the lower foot stands on y = 0, plus the lift."""
    num = len(poses)
    angle = {name: poses[:, i] for name, i in INDEX.items()}
    p = np.zeros((num, len(JOINTS), 3))

    def of_torso(v: Array) -> Array:
        v = np.broadcast_to(v, (num, 3))
        return _about_x(_about_z(_about_y(v, angle["twist"]), angle["roll"]), angle["pitch"])

    up = of_torso(np.array([0.0, lengths["torso"], 0.0]))
    p[:, JOINT["neck"]] = up
    look = _about_x(
        np.broadcast_to(np.array([0.0, lengths["head"] * 0.6, 0.0]), (num, 3)), angle["head_pitch"]
    )
    p[:, JOINT["head"]] = up + of_torso(look)
    for side, sign in (("l", -1.0), ("r", 1.0)):
        shoulder = up + of_torso(np.array([sign * lengths["shoulders"], -0.04, 0.0]))
        elbow = shoulder + lengths["upper_arm"] * of_torso(_limb(poses, side, "upper_arm"))
        hand = elbow + lengths["forearm"] * of_torso(_limb(poses, side, "forearm"))
        hip = np.broadcast_to(np.array([sign * lengths["hips"], 0.0, 0.0]), (num, 3))
        knee = hip + lengths["thigh"] * _limb(poses, side, "thigh")
        foot = knee + lengths["shin"] * _limb(poses, side, "shin")
        toe = foot + np.array([sign * 0.02, 0.0, lengths["foot"]])
        for name, value in (
            ("shoulder", shoulder), ("elbow", elbow), ("hand", hand),
            ("hip", hip), ("knee", knee), ("foot", foot), ("toe", toe),
        ):  # fmt: skip
            p[:, JOINT[f"{side}_{name}"]] = value
    lowest = np.minimum(p[:, JOINT["l_foot"], 1], p[:, JOINT["r_foot"], 1])
    p[..., 1] += (angle["lift"] - lowest)[:, None]
    p = _about_y(p, angle["yaw"][:, None])
    p[..., 0] += angle["shift"][:, None]
    return p


def project(
    points: Array, view_yaw: Array, view_pitch: float, scale: Array, foot: Array
) -> tuple[Array, Array]:
    """Positions [F, J, 3] -> pixels [F, J, 2] and depth [F, J] (larger is nearer).

    A weak perspective: near parts are a little larger. ``scale`` [F] is pixels a unit, ``foot`` [F, 2] the
    pixel of the ground point.
    """
    turned = _about_y(points, view_yaw[:, None])
    tilt = np.radians(view_pitch)
    height = turned[..., 1] * np.cos(tilt) - turned[..., 2] * np.sin(tilt)
    depth = turned[..., 1] * np.sin(tilt) + turned[..., 2] * np.cos(tilt)
    near = 1.0 + 0.08 * depth
    # Seen from the front the figure's right is on the picture's left.
    x = foot[:, None, 0] - turned[..., 0] * near * scale[:, None]
    y = foot[:, None, 1] - height * near * scale[:, None]
    return np.stack([x, y], -1), depth
