"""Pictures and features, changed a little: one draw for a whole window.

Pictures: random crop, horizontal flip, rotation, brightness / contrast / saturation / hue (TALLFormer's training
set-up). Features: Gaussian noise.
"""

from __future__ import annotations

from pydantic import Field

from tal.config import Config


class AugmentConfig(Config):
    """Strengths; the defaults are mild, TALLFormer's own are in its presets."""

    crop: bool = Field(True, description="random place of the crop; false: the centre")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirrored window")
    rotation_deg: float = Field(0.0, ge=0, le=180)
    rotation: float = Field(
        0.5, ge=0, le=1, description="probability of a rotated window, when rotation_deg > 0"
    )
    photometric: float = Field(0.5, ge=0, le=1, description="probability of changed colours")
    channel_shuffle: float = Field(
        0.0, ge=0, le=1, description="probability that colour channels trade places"
    )
    feature_noise: float = Field(
        0.0, ge=0, description="standard deviation of the noise added to stored rows"
    )
