"""Temporal shift (Lin et al., TSM, ICCV 2019): a per-frame network sees its neighbours at no cost.

An eighth of the channels comes from the frame before, an eighth from the frame after; inside each residual
branch, so that the identity path keeps the frame itself. As each clip is encoded alone, shifts stay inside
a clip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tal.errors import ConfigError

# The first layer of a residual branch, as timm's families call it.
_BRANCH_ENTRIES = ("conv_pw", "conv_dw", "conv1", "norm1")
_SHARE = 8


def shift(x: Tensor, length: int, channel_dim: int) -> Tensor:
    """Shift 1/8 of the channels of x [B * length, …] back and 1/8 forward in time.

    Zeros come in at the borders of clips.
    """
    fold = x.shape[channel_dim] // _SHARE
    if fold == 0 or length == 1:
        return x
    frames = x.unflatten(0, (-1, length))
    dim = channel_dim + 1 if channel_dim >= 0 else channel_dim
    later, earlier, same = torch.split(frames, [fold, fold, frames.shape[dim] - 2 * fold], dim=dim)
    zero = torch.zeros_like(later[:, :1])
    later = torch.cat([later[:, 1:], zero], dim=1)
    earlier = torch.cat([zero, earlier[:, :-1]], dim=1)
    return torch.cat([later, earlier, same], dim=dim).flatten(0, 1)


class TemporalShift:
    """Hooks on every residual branch of a model.

    ``length``: frames of a clip, set before each forward.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        self.length = 1
        self.places = 0
        for block in model.modules():
            entry = next(
                (
                    getattr(block, n)
                    for n in _BRANCH_ENTRIES
                    if isinstance(getattr(block, n, None), nn.Module)
                ),
                None,
            )
            if entry is None or block is model:
                continue
            entry.register_forward_pre_hook(self._hook)
            self.places += 1
        if not self.places:
            raise ConfigError(f"{name}: no residual branches found for encoder.temporal_shift")

    def _hook(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        return (
            shift(x, self.length, 1 if x.dim() == 4 and not isinstance(module, nn.LayerNorm) else -1),
            *inputs[1:],
        )
