"""What decides an extraction."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tal.config import Config
from tal.encoders.config import EncoderConfig
from tal.encoders.registry import find_entry, has_pypi_weights

PRECISIONS = ("fp32", "bf16", "fp16")


class ExtractConfig(Config):
    """Which videos, by which encoder, at which rate, into which store."""

    videos: Path = Field(description="folder of video files")
    store: Path = Field(description="feature store; made when it is not there, else gone on with")
    annotations: Path | None = Field(None, description="only videos that this file names")
    subset: str | None = Field(None, description="only videos of this subset of the annotations")
    encoder: EncoderConfig = EncoderConfig()
    seed: int = Field(0, description="of random weights")
    fps: float = Field(5.0, gt=0, description="frames a second that the encoder sees")
    max_frames: int = Field(0, ge=0, description="sample longer videos to this many frames; 0: never")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the store's rows")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the encoder's arithmetic")
    batch_clips: int = Field(
        0, ge=0, description="clips encoded at once; 0: 4 on a CPU, 16 elsewhere, more if under 8 frames"
    )
    workers: int = Field(-1, ge=-1, description="decoding processes; 0: none of their own, -1: by cores")
    repair: bool = Field(False, description="extract videos with damaged rows again")
    part: int = Field(0, ge=0, description="which part of the videos, when several machines share the work")
    parts: int = Field(1, ge=1)
    commit_every_s: float = Field(30.0, ge=0, description="finished videos are made safe this often")

    @model_validator(mode="after")
    def _fits_together(self) -> ExtractConfig:
        if self.part >= self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: parts are numbered from 0")
        return self

    @property
    def num_workers(self) -> int:
        return self.workers if self.workers >= 0 else max(1, min(8, (os.cpu_count() or 2) - 1))


def default_encoder(name: str, **given: object) -> EncoderConfig:
    """An encoder's configuration by name: what its published weights saw, changed by what is given (not
    None).

    Weights default to published ones: from the PyPI package where one has them, else from the hub.
    ``random`` must be asked for.
    """
    values: dict[str, object] = {"name": name}
    entry = find_entry(name)
    if entry is not None and not name.startswith("timm:"):
        values |= {k: getattr(entry, k) for k in ("clip_frames", "frame_stride", "size", "crop")}
    values["weights"] = "pypi" if has_pypi_weights(name) else "pretrained"
    values |= {k: v for k, v in given.items() if v is not None}
    if values["weights"] == "random":
        values["weights"] = None
    return EncoderConfig.model_validate(values)
