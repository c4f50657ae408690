"""Where adapters go: behind which modules, and how their output lies in time and space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

# to [B, T, S, C], and back to the shape that the first had
ToGrid = Callable[[Tensor], Tensor]
FromGrid = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AdapterPlace:
    """A block, or a stage of a per-frame network.

    Attributes
    ----------
    module, stage, channels
        whose output is adapted, the stage it belongs to (the stem is 0), and C of that output.
    to_grid, from_grid
        output -> [B, T, S, C], T steps of a clip with S places each; and (grid, output) -> output's shape.
    norm
        whether the adapter needs a norm of its own.
    """

    module: nn.Module
    stage: int
    channels: int
    to_grid: ToGrid
    from_grid: FromGrid
    norm: bool = False


def token_place(module: nn.Module, stage: int, channels: int, per_step: int) -> AdapterPlace:
    """Tokens [B, T * n, C], those of a step together; ``per_step`` is n."""
    return AdapterPlace(
        module,
        stage,
        channels,
        lambda x: x.unflatten(1, (-1, per_step)),
        lambda y, x: y.reshape(x.shape),
    )


def volume_place(module: nn.Module, stage: int, channels: int) -> AdapterPlace:
    """A volume [B, T, h, w, C]."""
    return AdapterPlace(module, stage, channels, lambda x: x.flatten(2, 3), lambda y, x: y.reshape(x.shape))


def picture_place(
    module: nn.Module, stage: int, channels: int, length: Callable[[], int], channels_last: bool
) -> AdapterPlace:
    """Features of single pictures, [B * L, C, h, w], or [B * L, ..., C] with ``channels_last``.

    ``length`` says L, the pictures of a clip.
    """

    def to_grid(x: Tensor) -> Tensor:
        last = x if channels_last else x.movedim(1, -1)
        return last.flatten(1, -2).unflatten(0, (-1, length()))

    def from_grid(y: Tensor, x: Tensor) -> Tensor:
        if channels_last:
            return y.reshape(x.shape)
        batch, channels_, height, width = x.shape
        return y.reshape(batch, height, width, channels_).movedim(-1, 1)

    return AdapterPlace(module, stage, channels, to_grid, from_grid, norm=True)
