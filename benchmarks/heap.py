"""What keeping freed buffers on the heap gains (`pipelines/shared/malloc.py`): `python -m benchmarks.heap`.

Yardstick, same run: the same encoder in a process that leaves the C library as it is. The two take turns,
each turn a fresh process. Rates are frames a second of processor time, so that other work on the machine
hardly matters.
"""

from __future__ import annotations

import hashlib
import json
import resource
import statistics
import subprocess
import sys

import pandas as pd
import torch

from pipelines.shared import console
from pipelines.shared.malloc import keep_freed_buffers
from tal.encoders import EncoderConfig, build_encoder
from tal.encoders.streaming import infer_clips

_ENCODERS = {
    "lite0": EncoderConfig(
        name="timm:tf_efficientnet_lite0", clip_frames=16, frame_stride=4, size=128, crop=112
    ),
    "swin3d_t": EncoderConfig(name="swin3d_t", clip_frames=16, frame_stride=2, size=128, crop=112),
}
_CLIPS, _BATCHES, _TURNS = 4, 5, 3


def encode(name: str, kept: bool) -> dict[str, object]:
    """One turn, in a process of its own."""
    if kept and not keep_freed_buffers():
        raise SystemExit("this C library has no such switch")
    torch.set_num_threads(1)
    encoder = build_encoder(_ENCODERS[name]).eval()
    source = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (_CLIPS, 16, 112, 112, 3), dtype=torch.uint8, generator=source)
    device = torch.device("cpu")
    rows = infer_clips(encoder, frames, device)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(_BATCHES):
        infer_clips(encoder, frames, device)
    after = resource.getrusage(resource.RUSAGE_SELF)
    system_s = after.ru_stime - before.ru_stime
    cpu_s = after.ru_utime - before.ru_utime + system_s
    return {
        "rate": _BATCHES * _CLIPS * 16 / cpu_s,
        "system": system_s / cpu_s,
        "peak_mb": after.ru_maxrss / 1e3,
        "bits": hashlib.sha256(rows.numpy().tobytes()).hexdigest(),
    }


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(encode(sys.argv[1], sys.argv[2] == "kept")))
        return
    table = []
    for name in _ENCODERS:
        turns: dict[str, list[dict[str, object]]] = {"plain": [], "kept": []}
        for _ in range(_TURNS):
            for kind, results in turns.items():
                command = [sys.executable, "-m", "benchmarks.heap", name, kind]
                results.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

        def median(kind: str, key: str, turns: dict[str, list[dict[str, object]]] = turns) -> float:
            return statistics.median(float(str(t[key])) for t in turns[kind])

        table.append(
            {
                "encoder": name,
                "plain (frames a CPU second)": median("plain", "rate"),
                "kept": median("kept", "rate"),
                "ratio": median("kept", "rate") / median("plain", "rate"),
                "system time, plain": median("plain", "system"),
                "system time, kept": median("kept", "system"),
                "peak MB, plain": median("plain", "peak_mb"),
                "peak MB, kept": median("kept", "peak_mb"),
                "same bits": len({t["bits"] for results in turns.values() for t in results}) == 1,
            }
        )
    console.print_table(pd.DataFrame(table), digits=2)


if __name__ == "__main__":
    main()
