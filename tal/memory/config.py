"""Configuration of windows, and of the share of each that is encoded anew."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tal.config import Config


class MemoryConfig(Config):
    """The share of a window that is encoded with gradient; the rest is read from the store.

    ``baseline`` trains without the memory, for comparisons: ``stochastic_backprop`` encodes every clip and
    takes the gradient through the sampled ones only; ``fresh_only`` drops the clips that were not sampled.
    """

    ratio: float = Field(0.15, ge=0, le=1, description="share r of a window's clips; 0: stored rows only")
    warmup_epochs: int = Field(0, ge=0, description="epochs on stored rows alone, before the encoder learns")
    finetune_localizer_epochs: int = Field(
        0,
        ge=0,
        description="last epochs: the encoder rests, the localizer learns on rows encoded anew before them",
    )
    sampler: Literal["stratified", "uniform", "oldest", "mixture"] = "stratified"
    oldest_share: float = Field(
        0.5, ge=0, le=1, description="`mixture`: part of the clips that are the oldest"
    )
    write_back: Literal["augmented", "canonical", "off"] = Field(
        "augmented",
        description="what is stored: rows as trained on, or of an extra clean pass without gradient",
    )
    in_place: bool = Field(
        False, description="refresh data.store itself instead of a copy in the run's folder"
    )
    baseline: Literal["none", "stochastic_backprop", "fresh_only"] = "none"


class WindowConfig(Config):
    """The stretch of a video that one sample shows, in rows.

    ``random``: ``num_rows`` rows from a random start of a longer video, else a random part (``crop_ratio``)
    of a shorter one. ``whole``: the whole video, which must fit (sample it down with data.max_frames).
    """

    mode: Literal["random", "whole"] = "random"
    num_rows: int = Field(320, ge=1)
    crop_ratio: tuple[float, float] = Field((0.9, 1.0), description="part of a video that fits the window")
    shift: bool = Field(
        True, description="end to end: clips of a video that fits start at other rows in each window"
    )
    trunc_threshold: float = Field(
        0.5, ge=0, le=1, description="least visible share of a segment that is kept"
    )
    allow_background: bool = Field(True, description="keep windows without any action; else draw again")
    tries: int = Field(200, ge=1, description="draws for a window with an action")
    windows_per_video: int = Field(1, ge=1, description="samples of each video in an epoch")
