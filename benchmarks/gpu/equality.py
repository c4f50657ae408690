"""Section equality: rows, outputs, losses, gradients and detections are those of the CPU in 32 bits.

The yardstick is the CPU's float32 always (`Workplace.able`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.equality_decoders import compare_decoder
from benchmarks.gpu.matching import excess
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import DECODERS, SWIN_B, SWIN_T, TOY_ENCODER
from tal.decoders.layers.norms import ChannelNorm
from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.streaming import infer_clips
from tal.shared.defaults import PRECISIONS

RTOL, ATOL = 1e-4, 1e-5
# Where rounding decides on which side of a ReLU's or a maximum's edge a value falls, a gradient jumps: those
# of a CPU in 32 bits differ by up to .0054 from its own in 64.
GRADIENT = 1e-2
COSINE, LOSS, NORM = 0.999, 0.02, 1e-2
_OTHERS = ("r2plus1d_18", "s3d", "i3d", "mvit_v2_s", "timm:tf_efficientnet_lite0")
_LARGE = 300.0  # values whose squares leave fp16's range


def run(work: Workplace) -> None:
    """Encoders in every precision, decoders in 32 bits and bf16, and the norm that had rounded."""
    for settings in encoders(work):
        _compare_encoder(work, settings)
    for name in DECODERS:
        for precision in work.able(("fp32", "bf16")):
            row = compare_decoder(work, name, precision)
            work.results.add("equality.decoders", row)
            _judge_decoder(work, row)
    _compare_norm(work)


def encoders(work: Workplace) -> list[dict[str, Any]]:
    """What is compared: one of each family; of the small ones more than a clip."""
    if work.toy:
        return [TOY_ENCODER]
    small = {"clip_frames": 16, "frame_stride": 8, "size": 128, "crop": 112}
    others = [{"name": name, **small} for name in _OTHERS]
    others[_OTHERS.index("mvit_v2_s")] |= {"size": 256, "crop": 224}
    return [SWIN_T, SWIN_B, *others]


def _compare_encoder(work: Workplace, settings: dict[str, Any]) -> None:
    encoder = build_encoder(EncoderConfig(**settings), seed=0).eval()
    clips = 1 if settings["crop"] > 112 else 2
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (clips, *encoder.clip_shape.shape), dtype=torch.uint8)
    expected = infer_clips(encoder, frames, torch.device("cpu"), "fp32")
    encoder.to(work.where)
    for mode in work.able(PRECISIONS):
        rows = infer_clips(encoder, frames, work.where, mode).cpu()
        row = {
            "name": settings["name"],
            "mode": mode,
            "max_abs": float((rows - expected).abs().max()),
            "max_rel": float(((rows - expected).abs() / expected.abs().clamp(min=ATOL)).max()),
            "cosine_min": float(_cosines(rows, expected).min()),
        }
        work.results.add("equality.encoders", row)
        name = f"equality.{settings['name']}.{mode}"
        if mode == "fp32":
            value = excess(rows, expected, RTOL, ATOL)
            work.results.check(name, value <= 1, value, 1, "of tolerance", needs_cuda=True)
        else:
            value = row["cosine_min"]
            work.results.check(name, value > COSINE, value, COSINE, "cosine", needs_cuda=True)


def _cosines(rows: Tensor, expected: Tensor) -> Tensor:
    return torch.cosine_similarity(rows.double().flatten(0, 1), expected.double().flatten(0, 1), dim=1)


def _judge_decoder(work: Workplace, row: dict[str, Any]) -> None:
    name, check = f"equality.{row['name']}.{row['mode']}", work.results.check
    if row["mode"] == "fp32":
        check(f"{name}.outputs", row["outputs"] <= 1, row["outputs"], 1, "of tolerance", needs_cuda=True)
        check(f"{name}.gradients", row["gradients"] <= GRADIENT, row["gradients"], GRADIENT, needs_cuda=True)
        found = row["detections_matched"]
        check(f"{name}.detections", found == 1, found, 1, "matched", needs_cuda=True)
    limit = RTOL if row["mode"] == "fp32" else LOSS
    check(f"{name}.loss", row["loss"] <= limit, row["loss"], limit, "relative", needs_cuda=True)


@torch.no_grad()
def _compare_norm(work: Workplace) -> None:
    """ChannelNorm of large half-precision values: in half precision their squares would be infinite."""
    torch.manual_seed(0)
    x = _LARGE * torch.randn(2, 64, 32)
    mask = torch.ones(2, 1, 32, dtype=torch.bool)
    norm = ChannelNorm(64, strict=True)
    for dtype in (torch.float16, torch.bfloat16):
        halved = x.to(dtype)
        expected = norm(halved.float(), mask)
        with torch.autocast(work.where.type, dtype=dtype):
            rows = norm.to(work.where)(halved.to(work.where), mask.to(work.where)).float().cpu()
        norm.cpu()
        error = float((rows - expected).abs().max())
        held = error <= NORM and bool((rows.abs().amax(1) > 0).all())
        name = str(dtype).removeprefix("torch.")
        work.results.check(f"equality.channel_norm.{name}", held, error, NORM, needs_cuda=True)
