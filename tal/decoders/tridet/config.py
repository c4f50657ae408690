"""Configuration of TriDet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tal.decoders.trident.config import TridentConfig


class TriDetConfig(TridentConfig):
    """``window`` w and ``scale`` k give a block its kernels: w, and round((w + 1) k) made odd."""

    name: Literal["tridet"] = "tridet"
    window: int | tuple[int, ...] = Field(1, description="kernel of a level's blocks; the stem's is 1")
    scale: float = Field(5.0, gt=0)
    conv_init: float = Field(0.0, ge=0, description="sd of the depth-wise weights at first")

    @model_validator(mode="after")
    def _windows_fit(self) -> TriDetConfig:
        for window in self.per_level(self.window, "window"):
            if window % 2 == 0:
                raise ValueError(f"window {window} is even; kernels are centred, so it must be odd")
        return self

    def wide_kernel(self, window: int) -> int:
        """Kernel of the wide branch."""
        size = round((window + 1) * self.scale)
        return size + 1 - size % 2
