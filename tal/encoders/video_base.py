"""What encoders of several frames at once share: a chain of blocks, checkpointed, pooled over space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tal.encoders.base import Encoder
from tal.encoders.config import EncoderConfig
from tal.errors import ConfigError


class VideoEncoder(Encoder):
    """A video network as a chain of parts; rows are the last part's output averaged over height and width.

    Children set ``parts``, one list a stage (the first is the stem), and may change `finish`.
    """

    parts: list[list[nn.Module]]

    def __init__(
        self, config: EncoderConfig, own_stride: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(config, own_stride, mean, std)
        if config.temporal_shift:
            raise ConfigError(
                f"{config.name} sees several frames by itself: temporal_shift is for per-frame encoders"
            )

    def encode(self, frames: Tensor) -> Tensor:
        x = frames
        for part in (p for stage in self.parts for p in stage):
            x = self._run(part, x)
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        """The last part's output -> rows [B, C, T]; here [B, C, T, h, w] averaged over space."""
        return x.mean((3, 4))

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        return [list(stage) for stage in self.parts]

    def _run(self, part: nn.Module, x: Tensor) -> Tensor:
        # inside a frozen stem nothing needs recomputing: no gradient flows there
        if self.config.checkpointing and self.training and torch.is_grad_enabled() and x.requires_grad:
            return checkpoint(part, x, use_reentrant=False)
        return part(x)


def set_drop_path(depths: Iterable[nn.Module], rate: float) -> None:
    """Stochastic depth from 0 at the first block to ``rate`` at the last, as the networks' papers do."""
    layers = list(depths)
    for index, layer in enumerate(layers):
        layer.p = rate * index / max(1, len(layers) - 1)  # type: ignore[assignment]


def refuse_drop_path(config: EncoderConfig) -> None:
    if config.drop_path:
        raise ConfigError(f"{config.name} has no stochastic depth: encoder.drop_path must be 0")
