"""Configuration of a synthetic data set; equal values give equal bytes."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tal.config import Config

# Salts that keep the random streams of different purposes apart.
PEOPLE, SUBSETS, LABELS, VIDEO = 1, 2, 3, 4


class SynthConfig(Config):
    """A data set of ``videos`` files of about ``seconds`` seconds."""

    videos: int = Field(default=40, ge=1)
    seconds: float = Field(default=45.0, ge=8.0, le=36000.0, description="mean; videos vary by a fifth")
    size: int = Field(default=128, ge=32, le=1024, multiple_of=2, description="side of a picture in pixels")
    fps: float = Field(default=15.0, ge=5.0, le=120.0)
    seed: int = Field(default=0, ge=0)
    videos_per_person: int = Field(default=2, ge=1)
    validation_share: float = Field(default=0.15, ge=0, lt=1, description="share of the persons")
    test_share: float = Field(default=0.25, ge=0, lt=1, description="share of the persons")

    def rng(self, *stream: int) -> np.random.Generator:
        """Random numbers of one purpose, independent of all others and of the order of calls."""
        return np.random.default_rng([self.seed, *stream])
