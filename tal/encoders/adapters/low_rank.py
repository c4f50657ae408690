"""LoRA (Hu et al., ICLR 2022) on the projections of attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize

from tal.errors import ConfigError

# projections of attention as timm, torchvision and transformers call them
_PROJECTIONS = ("qkv", "query", "key", "value", "proj", "dense")
_ATTENTION = ("attn", "attention")
_SUFFIX = ".parametrizations.weight.0."
_ORIGINAL = ".parametrizations.weight.original"


class LowRank(nn.Module):
    """A weight [out, in] -> weight + up @ down; ``up`` starts at zero."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_low_rank(block: nn.Module, ratio: float, name: str) -> None:
    """Give each projection of a block's attention a low-rank part of ``ratio`` of its inputs.

    Raises
    ------
    ConfigError
        the block has no attention.
    """
    projections = [
        module
        for path, module in block.named_modules()
        if isinstance(module, nn.Linear) and _is_projection(path.split("."))
    ]
    if not projections:
        raise ConfigError(f"{name} has no attention in its blocks: encoder.adapter.kind lora has no place")
    for linear in projections:
        rank = max(1, round(ratio * linear.in_features))
        # `unsafe`: the result has the weight's own shape and type, which needs no trial run
        parametrize.register_parametrization(linear, "weight", LowRank(linear, rank), unsafe=True)


def _is_projection(path: list[str]) -> bool:
    return path[-1] in _PROJECTIONS and any(part in _ATTENTION for part in path[:-1])


def is_low_rank(name: str) -> bool:
    """Whether a tensor of a module's state is a low-rank part."""
    return _SUFFIX in name


def plain_name(name: str) -> str:
    """The name that a tensor has without low-rank parts."""
    return f"{name.removesuffix(_ORIGINAL)}.weight" if name.endswith(_ORIGINAL) else name


def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state in which each weight has taken in its low-rank part, under its plain name."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        if is_low_rank(name):
            continue
        if name.endswith(_ORIGINAL):
            plain = name.removesuffix(_ORIGINAL)
            down, up = state[f"{plain}{_SUFFIX}down"], state[f"{plain}{_SUFFIX}up"]
            result[f"{plain}.weight"] = value + up @ down
        else:
            result[name] = value
    return result
