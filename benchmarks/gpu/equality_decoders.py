"""A decoder twice, on the CPU and on the device, with the same weights and the same padded batch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.matching import excess, gradient_difference, matched, tensors_of
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import NUM_CLASSES, decoder_settings, run_config
from benchmarks.gpu.settings import TOY_ENCODER as ANY_ENCODER
from tal.decoders import Decoder, Targets, build_decoder
from tal.decoders.base import on_host
from tal.device import computing_in

_RTOL, _ATOL = 1e-4, 1e-5
# Large enough that scores differ: those of fresh weights are all the same, and their order is chance.
_NOISE = 0.05
_OFF = ("drop_path", "dropout", "input_noise", "video_dropout")


def compare_decoder(work: Workplace, name: str, precision: str) -> dict[str, Any]:
    """Figures of one decoder; the CPU computes in 32 bits whatever the device does."""
    channels, length = (16, 48) if work.toy else (512, 256)
    expected = _decoder(work, name, channels)
    computed = copy.deepcopy(expected).to(work.where)
    features, mask, targets = _batch(channels, length)
    on_cpu = _step(expected, features, mask, targets)
    with computing_in(precision, work.where):
        there = [Targets(t.segments.to(work.where), t.labels.to(work.where)) for t in targets]
        on_device = _step(computed, features.to(work.where), mask.to(work.where), there)
    outputs, outputs_ = dict(tensors_of(on_device[0])), dict(tensors_of(on_cpu[0]))
    assert outputs.keys() == outputs_.keys() and outputs
    loss, loss_ = on_device[1], on_cpu[1]
    return {
        "name": name,
        "mode": precision,
        "outputs": max(excess(outputs[key], outputs_[key], _RTOL, _ATOL) for key in outputs),
        "loss": abs(loss - loss_) / abs(loss_),
        "gradients": gradient_difference(computed, expected),
        "detections_matched": _detections(computed, expected, features, mask),
    }


def _decoder(work: Workplace, name: str, channels: int) -> Decoder:
    """With noise on all weights, and with nothing that draws random numbers."""
    settings = decoder_settings(name, work.toy)
    config = run_config(work, "equality", ANY_ENCODER, localizer={"decoder": settings}).localizer.decoder
    off = {key: 0.0 for key in _OFF if hasattr(config, key)}
    torch.manual_seed(0)
    decoder = build_decoder(config.model_copy(update=off), channels, NUM_CLASSES)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(_NOISE * torch.randn_like(parameter))
    return decoder


def _batch(channels: int, length: int) -> tuple[Tensor, Tensor, list[Targets]]:
    """Samples of lengths T, .6 T and 1; the last shows no action."""
    torch.manual_seed(1)
    lengths = torch.tensor([length, int(0.6 * length), 1])
    mask = (torch.arange(length) < lengths[:, None])[:, None]
    features = torch.randn(len(lengths), channels, length) * mask
    many = torch.tensor([[1.0, 4.2], [5.0, 21.0], [30.0, 44.5]])
    few = torch.tensor([[4.0, 21.0], [5.0, 8.0]])
    nothing = Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    targets = [Targets(many, torch.tensor([0, 1, 2])), Targets(few, torch.tensor([2, 2])), nothing]
    return features, mask, targets


def _step(decoder: Decoder, features: Tensor, mask: Tensor, targets: list[Targets]) -> tuple[Any, float]:
    """Outputs, the loss and, in the parameters, gradients."""
    decoder.train()
    outputs = decoder(features, mask)
    losses = decoder.losses(outputs, mask, targets)
    losses["loss"].backward()
    return outputs, losses["loss"].item()


@torch.no_grad()
def _detections(computed: Decoder, expected: Decoder, features: Tensor, mask: Tensor) -> float:
    """The smallest share of matched candidates of any sample, both in 32 bits."""
    device = next(computed.parameters()).device
    features_, mask_ = features.to(device), mask.to(device)
    computed.eval()
    expected.eval()
    mine = on_host(computed.candidates(computed(features_, mask_), mask_))
    theirs = on_host(expected.candidates(expected(features, mask), mask))
    return min(matched(a, b) for a, b in zip(mine, theirs, strict=True))
