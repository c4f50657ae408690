"""A Video Swin's tensors as mmaction's checkpoints have them, and TALLFormer's, by their own rules."""

import re

import torch


def as_mmaction(state, tallformer=False):
    """torchvision's names back to mmaction's; ``tallformer``: with the ones that its blocks hold."""
    out = {}
    for name, value in state.items():
        if name.endswith("relative_position_index"):
            window = round(value.numel() ** 0.5)
            value = value.view(window, window)  # mmaction keeps a square table
        if found := re.match(r"features\.(\d+)\.(\d+)\.(.+)", name):
            stage, block, rest = int(found[1]), found[2], found[3]
            if stage % 2 == 0:
                rest = rest.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
                name = f"layers.{stage // 2}.blocks.{block}.{rest}"
                if tallformer:
                    out[f"backbone.layers.{stage // 2}.blocks.{block}.dummy_tensor"] = torch.ones(1)
        if found := re.match(r"features\.(\d+)\.(reduction|norm)\.(.+)", name):
            name = f"layers.{int(found[1]) // 2}.downsample.{found[2]}.{found[3]}"
        out[f"backbone.{name}"] = value
    return out
