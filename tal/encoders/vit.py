"""What vision transformers over tubelets of pictures share: sizes, rows of their tokens, random weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tal.errors import ConfigError


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
