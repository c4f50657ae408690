"""Peak memory and time of a training step by the share r of clips encoded.

    python -m benchmarks.train_step                  # CPU: Swin-T 112 px, efficientnet-lite0
    python -m benchmarks.train_step --device cuda    # also Swin-B 224 px (TALLFormer, Table 5)
    python -m benchmarks.train_step --only videomae-b-160 --only videomae-b-160-adapters   # AdaTAD's encoder

Hold: r = .15 takes .35 of r = 1, with adapters .25. A step is forward, backward and optimizer of
`MemoryNetwork` on random pictures and stored rows: what a run does, without decoding. Each r has a process of
its own. Memory, in use and held, is that of `benchmarks.peak_memory`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peak_memory import PeakMemory

RATIOS = (0.15, 0.3, 0.4, 0.6, 1.0)
_FEW = (0.15, 0.3, 0.6, 1.0)


@dataclass(frozen=True)
class Setting:
    """An encoder, its window of ``clips`` clips, and the paper's memory column (GB by r) if it has one.

    The localizer is TALLFormer's, with a consistency module, or (``tcm`` false) ActionFormer's alone. A ratio
    of 0: the encoder is frozen, and all rows are stored ones.
    """

    encoder: str
    clip_frames: int
    frame_stride: int
    crop: int
    clips: int
    batch: int
    frozen_stages: int = 0
    checkpointing: bool = False
    paper_gb: dict[float, float] | None = None
    adapter: bool = False
    tcm: bool = True
    downsample: int = 4
    ratios: tuple[float, ...] = RATIOS


# AdaTAD's clips and pictures; of its window of 48 clips as many as two gigabytes hold
_ADATAD: dict[str, Any] = {
    "clip_frames": 16,
    "frame_stride": 2,
    "crop": 160,
    "clips": 14,
    "batch": 1,
    "checkpointing": True,
    "tcm": False,
    "downsample": 1,
}
SETTINGS = {
    "swin-t-112": Setting("swin3d_t", 16, 2, 112, 15, 1),
    "efficientnet-lite0-112": Setting("timm:tf_efficientnet_lite0", 16, 2, 112, 15, 1),
    "swin-b-224": Setting("swin3d_b", 32, 2, 224, 15, 4, 2, True, {0.15: 12, 0.3: 22, 0.4: 29, 0.6: 45}),
    "videomae-b-160": Setting("videomae_b", **_ADATAD, ratios=(0.0, *_FEW)),
    "videomae-b-160-adapters": Setting("videomae_b", **_ADATAD, adapter=True, ratios=_FEW),
}
# those that run without being named
_USUAL = ("swin-t-112", "efficientnet-lite0-112")


def measure(setting: Setting, ratio: float, device: str, steps: int) -> dict[str, float]:
    """One ratio: seconds per step (median, the first left out), peak MiB in use and held, clips encoded."""
    import torch

    from tal.decoders import Targets
    from tal.encoders import EncoderConfig, build_encoder
    from tal.encoders.config import AdapterConfig
    from tal.localizer import Localizer, LocalizerConfig
    from tal.memory.clip_sampling import num_sampled
    from tal.memory.mixing import ClipPlaces, StoredRows
    from tal.memory.network import ClipFrames, MemoryNetwork

    torch.manual_seed(0)
    encoder = build_encoder(
        EncoderConfig(
            name=setting.encoder,
            clip_frames=setting.clip_frames,
            frame_stride=setting.frame_stride,
            size=setting.crop,
            crop=setting.crop,
            frozen_stages=setting.frozen_stages,
            checkpointing=setting.checkpointing,
            adapter=AdapterConfig() if setting.adapter else None,
        )
    )
    rows_per_clip = encoder.grid.rows_per_clip
    window = setting.clips * rows_per_clip
    localizer = Localizer(
        LocalizerConfig.model_validate(
            {
                "downsample": setting.downsample,
                "tcm": {"layers": 3 if setting.tcm else 0, "heads": 16},
                "decoder": {"name": "actionformer", "embed_dim": 256, "head_dim": 256, "levels": 4},
            }
        ),
        encoder.channels,
        20,
        window,
    )
    if not ratio:
        encoder.requires_grad_(False)
    network = MemoryNetwork(encoder, localizer).to(device).train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    rng, batch = np.random.default_rng(0), setting.batch
    count = num_sampled(setting.clips, ratio)
    chosen = [rng.choice(setting.clips, count, replace=False) for _ in range(batch)]
    shape = (batch * count, setting.clip_frames, setting.crop, setting.crop, 3)
    clips = ClipFrames(
        torch.randint(0, 256, shape, dtype=torch.uint8),
        ClipPlaces(
            torch.arange(batch).repeat_interleave(count),
            torch.from_numpy(np.concatenate(chosen)) * rows_per_clip,
        ),
        torch.ones(batch * count, dtype=torch.bool),
    ).to(device)
    full = torch.ones(batch, window, dtype=torch.bool)
    stored = StoredRows(torch.randn(batch, window, encoder.channels), full, full, full.long()).to(device)
    targets = [Targets(torch.tensor([[5.0, 12.0]]), torch.tensor([1])) for _ in range(batch)]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        network(stored, clips, targets).losses["loss"].backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    times = []
    with PeakMemory(device) as peak:
        for _ in range(steps + 1):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
    frames, seconds = batch * setting.clips * setting.clip_frames, float(np.median(times[1:]))
    return {
        "r": ratio,
        "clips": count,
        "seconds": seconds,
        "used_mib": peak.used_mib,
        "held_mib": peak.held_mib,
        "frames_per_s": frames / seconds,
    }


def run(name: str, device: str, steps: int) -> None:
    setting, results = SETTINGS[name], []
    print(f"{name}: window {setting.clips} x {setting.clip_frames} frames, batch {setting.batch}, {device}")
    for ratio in setting.ratios:
        command = [sys.executable, "-m", "benchmarks.train_step", "--one", name, str(ratio)]
        command += ["--device", device, "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"  r = {ratio:<4}: failed ({last[:120]})")
            continue
        results.append(json.loads(done.stdout.splitlines()[-1]))
        result = results[-1]
        paper = (setting.paper_gb or {}).get(ratio)
        beside = f"  paper {paper:.0f} GB" if paper else ""
        print(
            f"  r = {ratio:<4} ({result['clips']:2} clips): {result['seconds']:7.2f} s, "
            f"{result['used_mib']:8.0f} MiB in use, {result['held_mib']:8.0f} held, "
            f"{result['frames_per_s']:6.0f} frames of window/s{beside}",
            flush=True,
        )
    results = [result for result in results if result["clips"]]
    if len(results) < 2:
        return
    clips = np.array([f["clips"] for f in results], float)
    for key, unit in (("used_mib", "MiB"), ("held_mib", "MiB"), ("seconds", "s")):
        values = np.array([f[key] for f in results])
        slope, base = np.polyfit(clips, values, 1)
        misfit = np.abs(values - (slope * clips + base)).max() / values.max()
        ratio = values[0] / values[-1]
        print(
            f"  {key}: {base:.3g} + {slope:.3g} {unit} per clip (largest misfit {misfit:.1%} of the "
            f"largest); r = {results[0]['r']} / r = {results[-1]['r']}: {ratio:.2f} "
            f"(hold {0.25 if setting.adapter else 0.35})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", choices=sorted(SETTINGS), action="append")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, ratio = options.one
        print(json.dumps(measure(SETTINGS[name], float(ratio), options.device, options.steps)))
        return
    for name in options.only or (SETTINGS if options.device == "cuda" else _USUAL):
        run(name, options.device, options.steps)


if __name__ == "__main__":
    main()
