"""Configuration of ActionFormer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tal.decoders.pyramid.config import PyramidConfig


class ActionFormerConfig(PyramidConfig):
    """Spec of the paper on THUMOS-14; other data sets change the window, the width and position codes."""

    name: Literal["actionformer"] = "actionformer"
    heads: int = Field(4, ge=1)
    window: int | tuple[int, ...] = Field(
        19,
        description="positions that attention sees around each: one, or one per level; 1 or less: all",
    )
    relative_position: bool = Field(False, description="learnt bias per head and distance (local attention)")

    @model_validator(mode="after")
    def _windows_fit(self) -> ActionFormerConfig:
        self.per_level(self.window, "window")
        if self.embed_dim % self.heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not a multiple of heads {self.heads}")
        return self
