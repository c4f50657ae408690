"""Section steps: every decoder learns in every precision, through encoder and memory, and hardly waits."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from typing import Any

from benchmarks.gpu.making import MadeSteps, make_steps
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import DECODERS, SWIN_T, TOY_ENCODER, decoder_settings, run_config
from benchmarks.gpu.waits import counted_waits
from pipelines.config import RunConfig
from pipelines.train.setup import compile_localizer

MOST_WAITS = 3
STEPS = 4
# fp16's loss scale begins high: so many steps may overflow among those that are taken.
_OVERFLOWS = 16
_COMPILED = "actionformer"


def run(work: Workplace) -> None:
    """Steps of all decoders; on CUDA also in half precision, and one of them compiled."""
    for decoder in DECODERS:
        for precision in work.able(("fp32", "bf16", "fp16")):
            _measure(work, decoder, precision, compiled=False)
    if work.on_cuda:
        _measure(work, _COMPILED, "bf16", compiled=True)
    else:
        for name in ("bf16", "fp16", "compiled"):
            work.results.check(f"steps.{name}", None, needs_cuda=True)


def _measure(work: Workplace, decoder: str, precision: str, compiled: bool) -> None:
    steps = make_steps(config_of(work, decoder, precision), STEPS)
    if compiled:
        compile_localizer(steps.train_step.plain.localizer)
    row = take(steps, work.on_cuda)
    row = {"decoder": decoder, "precision": precision, "compiled": compiled, **row}
    work.results.add("steps", row)
    name = f"steps.{decoder}.{precision}" + (".compiled" if compiled else "")
    learns = row["finite"] and row["encoder_grad_norm"] > 0
    work.results.check(name, learns, row["encoder_grad_norm"], note="" if learns else str(row))
    if not compiled:  # guards of compiled code may ask the device
        waits = row["waits"]
        held = waits is not None and waits <= MOST_WAITS
        work.results.check(f"{name}.waits", held, waits, MOST_WAITS, "a step", needs_cuda=True)


def config_of(work: Workplace, decoder: str, precision: str) -> RunConfig:
    """Everything on that a step can have: consistency module, row classifier, ages, downsampling."""
    width, heads, rows = (16, 2, 32) if work.toy else (512, 8, 256)
    return run_config(
        work,
        "steps",
        TOY_ENCODER if work.toy else SWIN_T,
        memory={"ratio": 0.5 if work.toy else 0.15},
        window={"num_rows": rows, "crop_ratio": [0.6, 1.0]},
        localizer={
            "row_loss": 1.0,
            "downsample": 2,
            "width": width,
            "age_embedding": True,
            "tcm": {"layers": 1, "heads": heads},
            "decoder": decoder_settings(decoder, work.toy),
        },
        train={"batch_size": 3, "device": work.kind, "precision": precision},
    )


def take(steps: MadeSteps, on_cuda: bool) -> dict[str, Any]:
    """Figures of `STEPS` steps that are taken, of those that fp16's loss scale did not overflow.

    ``waits`` are the most of any step but the first, which also makes what is kept; None: not counted.
    """
    first = steps.take()
    overflows, finite = int(first.overflow), first.finite or first.overflow
    records, seconds = [], []
    most: Counter[str] = Counter()
    while finite and len(records) < STEPS and overflows <= _OVERFLOWS:
        with counted_waits(on_cuda) as waits:
            begin = time.perf_counter()
            record = steps.take()
            elapsed = time.perf_counter() - begin
        most = max(most, waits, key=Counter.total)
        if record.overflow:
            overflows += 1
            continue
        finite = record.finite
        records.append(record)
        seconds.append(elapsed)
    learnt = len(records) == STEPS
    return {
        "finite": finite and learnt,
        "losses": [first.losses["loss"], *(record.losses["loss"] for record in records)],
        "encoder_grad_norm": min(record.encoder_grad_norm for record in records) if learnt else math.nan,
        "seconds": statistics.median(seconds) if learnt else math.nan,
        "overflows": overflows,
        "waits": most.total() if on_cuda else None,
        "waits_at": dict(most),
    }
