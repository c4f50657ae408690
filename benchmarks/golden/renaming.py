"""Tensors of released code under the names that our modules give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmarks.golden.deviation import Deviation

# Pattern of a released name -> the name here; the first that matches the whole name decides.
Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]


def renamed(rules: Rules, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that the modules have here; KeyError for a name that no rule knows."""
    tensors_here = {}
    for name, value in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        for pattern, replacement in rules:
            match = re.fullmatch(pattern, name)
            if match:
                here = replacement(match) if callable(replacement) else match.expand(replacement)
                tensors_here[here] = value
                break
        else:
            raise KeyError(f"{name} has no place here")
    return tensors_here


def compare_gradients(module: nn.Module, norms: Mapping[str, Tensor], deviation: Deviation) -> None:
    """Norms of the gradients of all parameters against those of our names."""
    for name, parameter in module.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        deviation.add(gradient.norm(), norms[name])
