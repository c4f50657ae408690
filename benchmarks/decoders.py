"""Decoders and suppression against their plain formulations, in one run.

    python -m benchmarks.decoders [--size small] [--decoders tridet,cltdr_gmg]

Training step and inference of each decoder at D 512, T 2304, batch 2, 20 classes: milliseconds (median) and
peak memory, beside the same weights computed plainly: attention over T x T with a mask, heads level by level,
trident distributions of every position and class. Each case runs in a process of its own; on a CPU on one
thread, in CPU time. Then soft-NMS of 20 classes x 2,000 and 65 x 8,000 segments against loops in plain
Python, timed on one class (or the part of it that fits the time given) and scaled to all.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tal.decoders.actionformer.block as attention_block
from tal.decoders import Targets, build_decoder
from tal.decoders.actionformer import ActionFormerConfig
from tal.decoders.cltdr_gmg import CltdrGmgConfig
from tal.decoders.pyramid.decoder import PyramidDecoder, Where, joined
from tal.decoders.pyramid.outputs import Pyramid, PyramidOutput
from tal.decoders.temporalmaxer import TemporalMaxerConfig
from tal.decoders.tridet import TriDetConfig
from tal.suppression import SuppressionConfig, suppress

CONFIGS: dict[str, Callable[..., Any]] = {
    "actionformer": ActionFormerConfig,
    "temporalmaxer": TemporalMaxerConfig,
    "tridet": TriDetConfig,
    "cltdr_gmg": CltdrGmgConfig,
}
# width, positions, batch, channels, classes
SIZES = {"full": (512, 2304, 2, 2048, 20), "small": (64, 256, 2, 32, 5)}


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, reach: int, bias: Tensor | None = None
) -> Tensor:
    """Attention over all pairs of positions, those out of reach masked away."""
    length = query.shape[2]
    place = torch.arange(length, device=query.device)
    allowed = mask[:, :, None] & ((place - place[:, None]).abs() <= reach)
    logits = (query @ key.transpose(2, 3)) / math.sqrt(query.shape[3])
    logits = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min)
    return logits.softmax(-1) @ value


def make_plain(decoder: PyramidDecoder[Any]) -> None:
    """Change a decoder to the plain formulation: same weights, same results."""
    attention_block.local_attention = plain_attention
    original = decoder.heads

    def heads(pyramid: Pyramid, length: int) -> PyramidOutput:
        levels: list[PyramidOutput] = []
        scales = decoder.offset_head.scales
        for level in range(len(pyramid.maps)):
            refine = pyramid.refine_maps
            part = Pyramid(
                [],
                [],
                pyramid.maps[level : level + 1],
                pyramid.masks[level : level + 1],
                pyramid.class_maps[level : level + 1],
                pyramid.offset_maps[level : level + 1],
                pyramid.boundary_maps[level : level + 1],
                None if refine is None else refine[level : level + 1],
            )
            del decoder.offset_head.scales
            decoder.offset_head.scales = scales[level : level + 1]  # type: ignore[assignment]
            levels.append(original(part, length))
            del decoder.offset_head.scales
            decoder.offset_head.scales = scales
        fields = ("masks", "logits", "offsets", "start", "end", "start_shift", "end_shift", "confidence")
        joined_levels = {
            name: None if getattr(levels[0], name) is None else [getattr(f, name)[0] for f in levels]
            for name in fields
        }
        return PyramidOutput(length, **joined_levels)  # type: ignore[arg-type]

    decoder.heads = heads  # type: ignore[method-assign]
    if getattr(decoder.config, "trident", False):
        # CLTDR-GMG refines what `plain_distances` gives
        name = "plain_distances" if hasattr(decoder, "plain_distances") else "level_distances"
        gathered = getattr(decoder, name)

        def distances(outputs: PyramidOutput, level: int, where: Where) -> Tensor:
            batch, classes, length = outputs.logits[level].shape
            everything = torch.meshgrid(
                *(torch.arange(n, device=where[0].device) for n in (batch, length, classes)), indexing="ij"
            )
            every = gathered(outputs, level, tuple(axis.reshape(-1) for axis in everything))
            return every.reshape(batch, length, classes, 2)[where]

        setattr(decoder, name, distances)


def batch_of(size: str, device: torch.device) -> tuple[Tensor, Tensor, list[Targets]]:
    """Features, mask (the second sample is shorter) and 15 actions per sample."""
    _, length, batch, channels, classes = SIZES[size]
    random = np.random.default_rng(0)
    features = torch.from_numpy(random.standard_normal((batch, channels, length), dtype=np.float32))
    valid = torch.full((batch,), length)
    valid[1:] = length * 3 // 4
    mask = (torch.arange(length) < valid[:, None])[:, None]
    targets = []
    for _ in range(batch):
        start = random.uniform(0, length * 0.7, 15)
        end = start + random.uniform(2, length * 0.05, 15)
        labels = torch.from_numpy(random.integers(0, classes, 15))
        targets.append(Targets(torch.from_numpy(np.stack([start, end], 1)).float(), labels))
    return features.to(device), mask.to(device), targets


def measure(name: str, size: str, plain: bool, repeats: int) -> dict[str, float]:
    """Milliseconds of a training step and of an inference, and the rise of peak memory in MiB."""
    width, length, _, channels, classes = SIZES[size]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    config = CONFIGS[name](embed_dim=width, head_dim=width, max_positions=length)
    decoder = build_decoder(config, channels, classes).to(device)
    assert isinstance(decoder, PyramidDecoder)
    if plain:
        make_plain(decoder)
    features, mask, targets = batch_of(size, device)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times_ms: dict[str, list[float]] = {"step_ms": [], "inference_ms": []}
    loss = torch.zeros(())
    for _ in range(repeats):
        decoder.train()
        start = _now(device)
        loss = decoder.losses(decoder(features, mask), mask, targets)["loss"]
        loss.backward()
        times_ms["step_ms"].append(_now(device) - start)
        decoder.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    decoder.eval()
    with torch.inference_mode():
        for _ in range(repeats):
            start = _now(device)
            outputs = decoder(features, mask)
            decoder.candidates(outputs, mask)
            times_ms["inference_ms"].append(_now(device) - start)
        checksum = float(joined(outputs.logits).double().abs().mean())
    return {
        **{key: statistics.median(values) for key, values in times_ms.items()},
        "peak_mib": peak,
        "checksum": checksum,
        "loss": float(loss.detach()),
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() * 1000
    return time.process_time() * 1000  # one thread: what others do on the machine does not count


def compare_decoders(names: list[str], size: str, repeats: int) -> None:
    width, length, batch, channels, classes = SIZES[size]
    print(
        f"D {width}, T {length}, batch {batch}, {channels} channels, {classes} classes; ratio: plain / ours"
    )
    print(f"{'decoder':<16}{'':<7}{'step ms':>10}{'inference ms':>14}{'peak MiB':>10}{'outputs':>12}")
    for name in names:
        rows = []
        for plain in (False, True):
            command = [sys.executable, "-m", "benchmarks.decoders", "--case", name, "--size", size]
            command += ["--repeats", str(repeats), *(["--plain"] if plain else [])]
            rows.append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            )
        for label, row in zip(("ours", "plain"), rows, strict=True):
            print(
                f"{name:<16}{label:<7}{row['step_ms']:>10.0f}{row['inference_ms']:>14.0f}{row['peak_mib']:>10.0f}"
                f"{row['checksum']:>12.6f}",
                flush=True,
            )
        step, inference, peak = (
            rows[1][key] / max(rows[0][key], 1e-9) for key in ("step_ms", "inference_ms", "peak_mib")
        )
        print(
            f"{name:<16}{'ratio':<7}{step:>10.2f}{inference:>14.2f}{peak:>10.2f}",
            flush=True,
        )


def plain_soft_nms(
    segments: list[list[float]], scores: list[float], sigma: float, min_score: float, limit: float
) -> tuple[list[float], float, float]:
    """Soft-NMS of one class in loops, for at most ``limit`` seconds.

    Returns the scores of the picks, the seconds, and the share of all comparisons done (1: finished).
    """
    left = [(start, end, score) for (start, end), score in zip(segments, scores, strict=True)]
    picks = []
    total, done = len(left) * (len(left) - 1) / 2, 0
    start = time.process_time()
    while left and time.process_time() - start < limit:
        best = max(range(len(left)), key=lambda i: left[i][2])
        a, b, score = left.pop(best)
        picks.append(score)
        done += len(left)
        rest = []
        for c, d, other in left:
            inter = min(b, d) - max(a, c)
            if inter > 0:
                overlap = inter / ((b - a) + (d - c) - inter)
                other *= math.exp(-overlap * overlap / sigma)
            if other >= min_score:
                rest.append((c, d, other))
        left = rest
    return picks, time.process_time() - start, 1.0 if not left else done / total


def compare_suppression(classes: int, count: int, limit_s: float) -> None:
    """Full soft-NMS and the release's cut to the best ``count`` against loops."""
    random = np.random.default_rng(0)
    total = classes * count
    start = random.uniform(0, 2304, total)
    segments = np.stack([start, start + random.uniform(1, 40, total)], 1).astype(np.float32)
    scores = random.uniform(0.001, 1, total).astype(np.float32)
    labels = np.repeat(np.arange(classes), count)
    given = torch.from_numpy(segments), torch.from_numpy(scores), torch.from_numpy(labels)
    timed = {}
    for name, config in (
        ("all kept", SuppressionConfig(max_segments=0)),
        (f"best {count} kept", SuppressionConfig(max_segments=count)),
    ):
        began = time.process_time()
        detections = suppress(*given, config)
        timed[name] = (time.process_time() - began, detections)
    one = slice(0, count)
    picks, seconds, share = plain_soft_nms(segments[one].tolist(), scores[one].tolist(), 0.5, 0.001, limit_s)
    everything = timed["all kept"][1]
    ours = everything[1][everything[2] == 0][: len(picks)]
    difference = float((ours - torch.tensor(picks)).abs().max())
    estimate = seconds / share * classes
    note = "" if share == 1 else f" (stopped at {share:.0%} of a class's comparisons, at most)"
    print(f"soft-NMS {classes} x {count}: loops {estimate:.1f} s{note}; scores differ by {difference:.1e}")
    for name, (taken, _) in timed.items():
        print(f"  {name:<18}{taken:>9.3f} s   ratio {estimate / taken:>8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument(
        "--decoders", default=",".join(CONFIGS), help="names separated by commas; empty: none"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--loop-seconds", type=float, default=20.0, help="time limit of the plain loops per set"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.size, arguments.plain, arguments.repeats)))
        return
    torch.set_num_threads(1)
    compare_suppression(20, 2000, arguments.loop_seconds)
    compare_suppression(65, 8000, arguments.loop_seconds)
    names = [name for name in arguments.decoders.split(",") if name]
    if names:
        compare_decoders(names, arguments.size, arguments.repeats)


if __name__ == "__main__":
    main()
