"""What vision transformers over tubelets of pictures share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tal.encoders.adapters.places import AdapterPlace, token_place
from tal.encoders.video_base import VideoEncoder
from tal.errors import ConfigError


class TokenEncoder(VideoEncoder):
    """Tokens of a clip, averaged over space only; each block is a stage.

    Children set ``tokens_per_row``, the tokens of a time step, and may change `last_norm`.
    """

    tokens_per_row: int

    def last_norm(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T * n, C] behind the last block, the same normalised where the network does so."""
        return tokens

    def finish(self, x: Tensor) -> Tensor:
        return rows_of_tokens(self.last_norm(x), self.tokens_per_row)

    def adapter_places(self) -> list[AdapterPlace]:
        blocks = enumerate(self.parts[1:], start=1)
        return [token_place(block, stage, self.channels, self.tokens_per_row) for stage, (block,) in blocks]


def patches_across(name: str, side: int, patch: int) -> int:
    """Patches along the side of a square picture.

    Raises
    ------
    ConfigError
        the patches do not fill the picture; names both numbers.
    """
    if side % patch:
        raise ConfigError(
            f"{name}: encoder.crop {side} is not a multiple of the network's patches of {patch} pixels"
        )
    return side // patch


def square_side(size: int | Sequence[int]) -> int:
    """Side of a square that a configuration gives as a number or as a pair."""
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ConfigError(f"pictures or patches that are not square ({size}) cannot be used")
    return sides.pop()


def rows_of_tokens(tokens: Tensor, per_step: int) -> Tensor:
    """Tokens [B, T * per_step, C], those of a step together -> their means [B, C, T]."""
    return tokens.unflatten(1, (-1, per_step)).mean(2).transpose(1, 2)


def init_transformer(network: nn.Module, std: float) -> None:
    """Random weights as `transformers` draws them: normal with ``std``, biases zero, norms at rest."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
