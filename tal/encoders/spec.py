"""What a feature store says about the encoder that filled it."""

from __future__ import annotations

from typing import Any

from featstore.spec import PRECISION, FeatureSpec
from tal.encoders.base import Encoder
from tal.video import resolve_reader


def feature_spec(
    encoder: Encoder,
    fps: float,
    max_frames: int = 0,
    dtype: str = "float16",
    reader: str = "auto",
    precision: str = "fp32",
) -> FeatureSpec:
    """The FeatureSpec of rows that ``encoder`` makes at ``fps``.

    ``max_frames``: longer videos are sampled more slowly, to so many frames; 0: never. ``reader`` is the one
    that decodes the videos, ``precision`` that of the encoder's arithmetic. Adapters that learnt in an
    earlier run are named by their digest; new ones change no row.
    """
    prepare = encoder.preprocess
    extra: dict[str, Any] = {"temporal_shift": True} if encoder.config.temporal_shift else {}
    if encoder.learnt_sha256:
        extra["adapter"] = encoder.learnt_sha256
    return FeatureSpec(
        encoder=encoder.name,
        weights=encoder.weights_sha256,
        channels=encoder.channels,
        clip_frames=encoder.grid.clip_frames,
        frame_stride=encoder.grid.frame_stride,
        dtype=dtype,
        fps=fps,
        max_frames=max_frames,
        size=prepare.size,
        crop=prepare.crop,
        mean=prepare.mean,
        std=prepare.std,
        reader=resolve_reader(reader),
        extra={**extra, PRECISION: precision},
    )
