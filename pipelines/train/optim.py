"""Parameter groups and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from pipelines.config import OptimConfig
from tal.encoders.base import is_adapter
from tal.errors import CheckpointError, ConfigError

_PARTS = ("localizer", "encoder", "adapters")


def parameter_groups(
    model: nn.Module, config: OptimConfig, adapter_lr_multiplier: float = 1.0
) -> list[dict[str, Any]]:
    """Groups by part (localizer, encoder, the encoder's adapters) and by decay; each carries ``base_lr``.

    Decay is for weights of two or more dimensions: neither biases, norms nor scales (ActionFormer's and
    TriDet's rule; a per-channel scale stored as [C, 1] or [1, C, 1] is not a weight either). Position tables
    are not decayed.
    """
    rates = (config.lr, config.lr * config.encoder_lr_multiplier, config.lr * adapter_lr_multiplier)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = _part(name)
        wide = sum(size > 1 for size in parameter.shape) >= 2
        table = name.endswith(("bias.table", "relative_position_bias_table", "pos_embed"))
        groups.setdefault((part, wide and not table), []).append(parameter)
    result = []
    for (part, decayed), parameters in sorted(groups.items(), key=lambda group: group[0]):
        lr = rates[part]
        decay = config.weight_decay if decayed else 0.0
        name = _PARTS[part] + ("" if decayed else ", no decay")
        result.append({"params": parameters, "lr": lr, "base_lr": lr, "weight_decay": decay, "name": name})
    if not result:
        raise ConfigError("nothing to train: every parameter is frozen")
    return result


def _part(name: str) -> int:
    """Which of `_PARTS` a parameter of a `MemoryNetwork` belongs to."""
    if not name.startswith("encoder."):
        return 0
    return 2 if is_adapter(name.removeprefix("encoder.")) else 1


def build_optimizer(
    model: nn.Module, config: OptimConfig, adapter_lr_multiplier: float = 1.0, device: str = "cpu"
) -> torch.optim.Optimizer:
    """The optimizer that the configuration names, over `parameter_groups`.

    For CUDA it is fused: one launch for all weights, with fp16's loss scale and its check inside, so that the
    host reads neither; and its step counters are on the device on purpose.
    """
    groups = parameter_groups(model, config, adapter_lr_multiplier)
    fused = _fused(device)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.lr, fused=fused)
    return torch.optim.AdamW(groups, lr=config.lr, fused=fused)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], device: str = "cpu") -> None:
    """Take up a saved state, of whatever device it was, for this one.

    Raises
    ------
    CheckpointError
        it is of weights of other shapes, as a run of an older version may have them.
    """
    optimizer.load_state_dict(state)
    for weight, values in optimizer.state.items():
        for value in values.values():
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != weight.shape:
                raise CheckpointError(
                    f"the checkpoint's optimizer has averages of shape {list(value.shape)} for a weight of "
                    f"shape {list(weight.shape)}: another version of longtal began this run; go on with that "
                    "one, or begin anew"
                )
    for group in optimizer.param_groups:
        group["fused"] = _fused(device)  # a saved group says what it was where it was saved


def _fused(device: str) -> bool | None:
    """None leaves the choice to torch, which then does not fuse."""
    return True if device == "cuda" else None


def lr_factor(step: int, steps_per_epoch: int, epochs: int, config: OptimConfig) -> float:
    """Share of the base learning rate at a step (0 = the first).

    A function of the step alone, so that a resumed run needs no scheduler state. Warm-up is linear from
    ``warmup_factor``; the cosine runs over what is left of the run, from 1 down to ``min_lr_factor``.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.warmup_factor + (1 - config.warmup_factor) * step / warmup
    floor = config.min_lr_factor
    epoch = step / steps_per_epoch
    if config.schedule == "multistep":
        return config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    if config.schedule == "cosine":
        total = max(1, epochs * steps_per_epoch - warmup)
        part = min(1.0, (step - warmup) / total)
    elif config.schedule == "cosine_restarts":
        part = (epoch % config.restart_epochs) / config.restart_epochs
    else:
        return 1.0
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * part))


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give each group ``factor`` times its base learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
