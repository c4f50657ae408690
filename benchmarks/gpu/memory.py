"""Section memory: what a step takes of the card by the share r of clips, beside the paper's column.

TALLFormer, Table 5: Swin-B at 224 px, clips of 32 frames, windows of 480 frames, batch 4, checkpointing.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.making import make_steps
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import SWIN_B, TOY_ENCODER, decoder_settings, run_config
from pipelines.budget.probe_process import clips_of_window
from pipelines.config import RunConfig
from pipelines.train.epoch_log import peak_memory_mib
from tal.device import out_of_memory
from tal.memory.clip_sampling import num_sampled

PAPER_GB = {0.15: 12, 0.3: 22, 0.4: 29, 0.6: 45}
RATIOS = (*PAPER_GB, 1.0)  # all clips: beyond 48 GB in the paper
BATCH = 4
OF_PAPER, MISFIT = 1.1, 0.05
_STEPS = 2  # timed, after one that makes what is kept
FIT_FILE = "memory_fit.json"


def run(work: Workplace) -> None:
    """All shares in 32 bits and bf16, a line through each, and both held against the paper."""
    fits: dict[str, dict[str, float]] = {}
    for precision in ("fp32", "bf16"):
        rows = []
        for ratio in (0.25, 1.0) if work.toy else RATIOS:
            rows.append(measure(work, ratio, precision))
            work.results.add("memory", rows[-1])
            _judge(work, rows[-1])
        fitting = [row for row in rows if not row["oom"]]
        if len({row["clips"] for row in fitting}) < 2:
            work.results.check(f"memory.linear.{precision}", False, note="fewer than two shares fit")
            continue
        fits[precision] = fit(fitting)
        misfit = fits[precision]["misfit"]
        name = f"memory.linear.{precision}"
        work.results.check(name, misfit <= MISFIT, misfit, MISFIT, "of the largest", needs_cuda=True)
    work.results.put("memory_fit", fits)
    (work.folder / FIT_FILE).write_text(json.dumps(fits))


def config_of(work: Workplace, precision: str, ratio: float, batch: int = BATCH) -> RunConfig:
    """The paper's setting: two stages rest, TCM of 3 layers and 16 heads, DaoTAD."""
    encoder = TOY_ENCODER if work.toy else {**SWIN_B, "frozen_stages": 2, "checkpointing": True}
    localizer: dict[str, Any] = {"decoder": decoder_settings("daotad", work.toy), "downsample": 4}
    localizer |= {"width": 16 if work.toy else 512, "tcm": {"layers": 3, "heads": 4 if work.toy else 16}}
    return run_config(
        work,
        "memory",
        encoder,
        memory={"ratio": ratio},
        window={"num_rows": 32 if work.toy else 240, "crop_ratio": [1.0, 1.0]},
        localizer=localizer,
        optim={"name": "sgd"},
        train={"batch_size": batch, "device": work.kind, "precision": precision},
    )


def measure(work: Workplace, ratio: float, precision: str) -> dict[str, Any]:
    """Figures of one share; too little memory is one of them. GB are 10^9 bytes."""
    config = config_of(work, precision, ratio)
    row: dict[str, Any] = {
        "r": ratio,
        "clips": num_sampled(clips_of_window(config), ratio),  # of each window
        "windows": BATCH,
        "precision": precision,
        "paper_gb": PAPER_GB.get(ratio),
        "oom": False,
    }
    if work.on_cuda:
        torch.cuda.reset_peak_memory_stats(work.where)
    try:
        row |= _steps(work, config)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        row["oom"] = True
    # here, when neither steps nor error hold the tensors any more
    gc.collect()
    if work.on_cuda:
        torch.cuda.empty_cache()
    if row["paper_gb"] and not row["oom"]:
        row["of_paper"] = row["allocated_gb"] / row["paper_gb"]
    return row


def _steps(work: Workplace, config: RunConfig) -> dict[str, float]:
    steps = make_steps(config, 1)
    seconds = []
    for _ in range(1 + _STEPS):
        begin = time.perf_counter()
        steps.take()
        if work.on_cuda:
            torch.cuda.synchronize(work.where)
        seconds.append(time.perf_counter() - begin)
    step_s = statistics.median(seconds[1:])
    if not work.on_cuda:  # the whole process's, and of all shares before: for the shape of the report
        return {"allocated_gb": peak_memory_mib(work.where) * 2**20 / 1e9, "step_s": step_s}
    free, total = torch.cuda.mem_get_info(work.where)
    return {
        "allocated_gb": torch.cuda.max_memory_allocated(work.where) / 1e9,
        "reserved_gb": torch.cuda.max_memory_reserved(work.where) / 1e9,
        "device_gb": (total - free) / 1e9,  # with CUDA's own, and what other programs take
        "step_s": step_s,
    }


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The line through what tensors take by the clips of all windows; misfit as a share of the largest."""
    clips = np.array([row["clips"] * row["windows"] for row in rows], float)
    values = np.array([row["allocated_gb"] for row in rows])
    slope, base = np.polyfit(clips, values, 1)
    misfit = np.abs(values - (slope * clips + base)).max() / values.max()
    return {"base_gb": float(base), "gb_a_clip": float(slope), "misfit": float(misfit)}


def _judge(work: Workplace, row: dict[str, Any]) -> None:
    if row["paper_gb"] is None or row["precision"] != "fp32":
        return
    name, limit = f"memory.r{row['r']}", OF_PAPER * row["paper_gb"]
    value = None if row["oom"] else row["allocated_gb"]
    held = value is not None and value <= limit
    note = "out of memory" if row["oom"] else ""
    work.results.check(name, held, value, limit, "GB", note, needs_cuda=True)
