"""Configuration that the four pyramid decoders share."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from tal.config import Config


class PyramidConfig(Config):
    """An anchor-free decoder on a feature pyramid of ``levels`` levels, strides 1, 2, 4 … positions.

    Lengths are in positions of the features given (grid units) unless a description says otherwise.
    """

    masking: Literal["strict", "release"] = Field(
        "strict",
        description="strict: results do not depend on padding; release: as the released code, padding leaks",
    )
    levels: int = Field(6, ge=1, le=24)
    first_level: int = Field(
        0, ge=0, le=24, description="finest level with heads; its stride is 2^first_level"
    )
    embed_dim: int = Field(512, ge=1)
    embed_layers: int = Field(2, ge=1, le=100)
    embed_kernel: int = Field(3, ge=1)
    embed_norm: bool = True
    input_groups: tuple[tuple[int, int], ...] = Field(
        (), description="(channels in, channels out) of feature groups projected apart; empty: none"
    )
    stem_layers: int = Field(2, ge=0, le=100)
    neck_norm: Literal["channel", "group", "none"] = Field("channel", description="norm of each level's map")
    neck_groups: int = Field(4, ge=1, description="of the group norm, which runs over time and has no scale")
    absolute_position: bool = Field(False, description="add sinusoidal position codes")
    max_positions: int = Field(2304, ge=1, description="training length; release masking pads up to it")
    pad_multiple: int = Field(1, ge=1, description="release masking: longer inputs are padded to a multiple")
    head_dim: int = Field(512, ge=1)
    head_layers: int = Field(3, ge=1, le=100, description="convolutions of a head, the output layer included")
    head_kernel: int = Field(3, ge=1)
    head_norm: bool = True
    drop_path: float = Field(0.1, ge=0, lt=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    input_noise: float = Field(0.0, ge=0, description="sd of Gaussian noise on the features in training")
    class_prior: float = Field(0.01, gt=0, lt=1, description="probability of a class at initialisation")
    empty_classes: tuple[int, ...] = Field((), description="classes without training samples")

    regression_ranges: tuple[tuple[float, float], ...] = Field(
        (), description="largest distance to a boundary, (from, to) per level; empty: 0-4, 4-8, … doubling"
    )
    assignment: Literal["center", "inside", "sim_ota"] = "center"
    center_radius: float = Field(1.5, gt=0, description="in strides of the level")
    cls_loss: Literal["focal", "varifocal", "quality_focal"] = "focal"
    varifocal_alpha: float = 0.75
    regression_loss: Literal["diou", "giou"] = "diou"
    regression_weight: float = Field(1.0, ge=0, description="0: as large as the classification loss")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    initial_normaliser: float = Field(100.0, gt=0, description="first value of the mean number of positives")

    min_score: float = Field(0.001, ge=0, description="candidates at or below are dropped")
    topk_per_level: int = Field(2000, ge=1, description="best (position, class) pairs kept of each level")
    min_duration: float = Field(0.05, ge=0, description="shorter candidates are dropped")

    @property
    def strict(self) -> bool:
        return self.masking == "strict"

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride in positions of each level with heads, finest first."""
        return tuple(2**level for level in range(self.first_level, self.first_level + self.levels))

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Regression range of each level; the last one is open."""
        if self.regression_ranges:
            return self.regression_ranges
        edges = [0.0, *(4.0 * stride for stride in self.strides)]
        edges[-1] = 10000.0
        return tuple(pairwise(edges))

    @model_validator(mode="after")
    def _fits(self) -> PyramidConfig:
        if self.regression_ranges and len(self.regression_ranges) != self.levels:
            raise ValueError(
                f"regression_ranges has {len(self.regression_ranges)} entries for {self.levels} levels"
            )
        if self.neck_norm == "group" and self.embed_dim % self.neck_groups:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of neck_groups {self.neck_groups}"
            )
        for name in ("embed_kernel", "head_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(
                    f"{name} {getattr(self, name)} is even; kernels are centred, so it must be odd"
                )
        return self

    @property
    def whole_batch_reason(self) -> str:
        """The setting that keeps a step from being taken in parts, and why; empty: none does."""
        if self.assignment == "sim_ota":
            return "assignment sim_ota counts its positives in the predictions of a whole batch"
        if self.regression_weight == 0:
            return "regression_weight 0 balances the losses of a whole batch"
        return ""

    @property
    def conv_margin(self) -> int:
        """Positions to each side that embedding, pooling and heads can see."""
        pooling = sum(2**level for level in range(self.first_level + self.levels - 1))
        heads = self.head_layers * (self.head_kernel // 2) * self.strides[-1]
        return self.embed_layers * (self.embed_kernel // 2) + pooling + heads

    def per_level(self, value: int | tuple[int, ...], name: str) -> tuple[int, ...]:
        """One value for each level of the backbone, those below ``first_level`` included."""
        total = self.first_level + self.levels
        if isinstance(value, int):
            return (value,) * total
        if len(value) != total:
            raise ValueError(f"{name} has {len(value)} entries for {total} levels")
        return value
