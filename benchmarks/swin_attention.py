"""Swin's attention fused, and written out as torchvision does: `python -m benchmarks.swin_attention`.

Yardstick, same run: torchvision's network. What autograd keeps of a forward is counted where no weight learns
but what comes before: on a CPU torch keeps the scores of fused attention, too, where the bias learns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import get_model_builder

from tal.encoders.window_attention import fused_block


def network(name: str, fused: bool) -> nn.Module:
    torch.manual_seed(0)
    build = get_model_builder(name)
    if fused:
        build = partial(build, block=fused_block)
    return build(weights=None).eval()


def kept_bytes(model: nn.Module, clips: Tensor) -> int:
    """Bytes that autograd keeps of a forward of which only the way back to the pictures is asked."""
    model.requires_grad_(False)
    seen: dict[int, Tensor] = {}  # held, so that no address is given twice

    def note(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(clips.requires_grad_()).sum()
    model.requires_grad_(True)
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def seconds(model: nn.Module, clips: Tensor, train: bool) -> float:
    start = time.process_time()
    if train:
        model(clips).sum().backward()
    else:
        with torch.inference_mode():
            model(clips)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="swin3d_t")
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = torch.randn(1, 3, 16, options.side, options.side)
    models = [network(options.encoder, fused) for fused in (False, True)]
    with torch.no_grad():
        apart = float((models[0](clips) - models[1](clips)).abs().max())
    print(f"{options.encoder}, {options.side} px: largest difference of an output {apart:.1e}")
    for what, train in (("inference", False), ("forward and backward", True)):
        rounds = [[seconds(model, clips, train) for model in models] for _ in range(options.rounds)]
        written, fused = map(statistics.median, zip(*rounds, strict=True))
        print(f"{what}: written out {written:.3f} s, fused {fused:.3f} s, ratio {fused / written:.2f}")
    written, fused = (kept_bytes(model, clips.clone()) / 1e6 for model in models)
    ratio = fused / written
    print(f"kept for the way back: written out {written:.0f} MB, fused {fused:.0f} MB, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
