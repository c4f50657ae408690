"""Extraction against the slower of its two halves: `python -m benchmarks.extract [--device cuda]`.

Claim (DESIGN): decoding and encoding overlap, so that the whole runs at 0.9 or more of the slower half
alone. All three are measured in one run on the same videos, made on the spot: decode alone (same workers,
clips thrown away), encode alone (same batches of ready clips), and the pipeline; in turns, so that other
work on the machine meets all three. Rates are clips a second, the share is the median of the turns' shares.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from pipelines.shared import console
from pipelines.shared.malloc import keep_freed_buffers
from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.stream import ClipEncoder, EncodedClip, encode_stream
from tal.shared.defaults import PRECISIONS
from tal.video.pool import Decoded, DecodeTask, decode_all
from tal.video.writer import VideoWriter

_FPS = 10.0
LIGHT = EncoderConfig(name="timm:tf_efficientnet_lite0", clip_frames=16, frame_stride=4, size=128, crop=112)
HEAVY_CPU = EncoderConfig(name="swin3d_t", clip_frames=16, frame_stride=2, size=128, crop=112)
HEAVY_GPU = EncoderConfig(name="swin3d_b", clip_frames=32, frame_stride=2, size=256, crop=224)


def make_videos(folder: Path, count: int, seconds: int) -> list[Path]:
    """``count`` videos of `make_video`, each of its own noise."""
    paths = [folder / f"{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        make_video(path, seconds, number)
    return paths


def make_video(path: Path, seconds: int, seed: int) -> None:
    """Noise that moves over a gradient, 320 x 240 at 25 a second: costs a decoder what real pictures cost."""
    texture = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    texture = np.repeat(np.repeat(texture[::4, ::4], 4, 0), 4, 1)
    with VideoWriter(path, 25.0, gop=50) as writer:
        for i in range(seconds * 25):
            top, left = i % 240, (2 * i) % 320
            writer.add(np.ascontiguousarray(texture[top : top + 240, left : left + 320]))


class Decoders:
    """Memory of the largest decoding process so far, MB."""

    peak_mb = 0.0

    def look(self) -> None:
        for process in multiprocessing.active_children():
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:  # no /proc here, or the process has ended
                continue
            kilobytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            self.peak_mb = max(self.peak_mb, *(int(k) / 1024 for k in kilobytes), 0.0)


class Rates:
    """Clips a second of an extraction's halves, each alone, and of both together.

    Parameters
    ----------
    batch
        clips at once, those of ``clips``.
    look
        called after each batch.
    """

    def __init__(
        self,
        clips: ClipEncoder,
        tasks: list[DecodeTask],
        batch: int,
        workers: int,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self.clips, self.tasks, self.batch, self.workers, self.look = clips, tasks, batch, workers, look
        self.shape = clips.encoder.clip_shape
        self.picture = np.random.default_rng(0).integers(0, 256, self.shape.shape, dtype=np.uint8)

    def decode(self) -> float:
        """The same workers, clips thrown away."""
        return self._after_first(decode_all(self.tasks, self.shape, self.workers), Decoded)

    def encode(self, rounds: int) -> float:
        """So many batches of ready clips."""
        for _ in range(self.batch):
            list(self.clips.add("warm", 0, self.picture))
        list(self.clips.flush())
        started = time.perf_counter()
        total = self.batch * rounds
        for clip in range(total):
            list(self.clips.add("x", clip, self.picture))
        list(self.clips.flush())
        return self._rate(total, started)

    def pipeline(self) -> float:
        """Decoding and encoding at once."""
        return self._after_first(encode_stream(self.clips, self.tasks, self.workers), EncodedClip)

    def _rate(self, count: int, started: float) -> float:
        if self.clips.device.type == "cuda":
            torch.cuda.synchronize(self.clips.device)
        return count / (time.perf_counter() - started)

    def _after_first(self, events: Iterable[object], kind: type) -> float:
        """Clips a second after the first batch: starting processes is paid once, in any extraction."""
        count, started = 0, 0.0
        for event in events:
            if isinstance(event, kind):
                count += 1
                if count == self.batch:
                    started = time.perf_counter()
                if count % self.batch == 0:
                    self.look()
        assert count > self.batch, f"{count} clips are no more than one batch of {self.batch}"
        return self._rate(count - self.batch, started)


def measure(
    config: EncoderConfig, paths: list[Path], args: argparse.Namespace, decoders: Decoders
) -> dict[str, object]:
    clips = ClipEncoder(build_encoder(config), torch.device(args.device), args.batch, args.precision)
    tasks = [DecodeTask(str(p), p, "auto", _FPS) for p in paths]
    rates = Rates(clips, tasks, args.batch, args.workers, decoders.look)
    turns = []
    for _ in range(args.turns):
        decode, encode, pipeline = rates.decode(), rates.encode(args.rounds), rates.pipeline()
        turns.append((decode, encode, pipeline, pipeline / min(decode, encode)))
    decode, encode, pipeline, share = (statistics.median(column) for column in zip(*turns, strict=True))
    return {
        "encoder": f"{config.name} {config.clip_frames}x{config.crop}²",
        "decode alone": decode,
        "encode alone": encode,
        "pipeline": pipeline,
        "share of the slower": share,
        "shares": " ".join(f"{t[3]:.2f}" for t in turns),
    }


def main() -> None:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10, help="batches of the encode-only part")
    args = parser.parse_args()
    args.batch = args.batch or (16 if args.device.startswith("cuda") else 4)
    if args.device == "cpu":
        keep_freed_buffers()  # as the command does
    decoders = Decoders()
    heavy = HEAVY_GPU if args.device.startswith("cuda") else HEAVY_CPU
    with tempfile.TemporaryDirectory() as folder:
        paths = make_videos(Path(folder), args.videos, args.seconds)
        rows = [measure(config, paths, args, decoders) for config in (LIGHT, heavy)]
    console.print_table(
        pd.DataFrame(rows), title=f"clips a second, {args.device}, {args.workers} workers", digits=2
    )
    unit = 1 if sys.platform == "darwin" else 1024
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print(f"peak memory: {peak_mb:.0f} MB, the largest decoding process {decoders.peak_mb:.0f} MB")
    if args.device.startswith("cuda"):
        print(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
