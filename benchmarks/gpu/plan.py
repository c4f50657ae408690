"""Section plan: what `longtal plan` says fits a budget trains within it, measured as the card sees it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

from benchmarks.gpu.memory import FIT_FILE, config_of
from benchmarks.gpu.results import Workplace
from benchmarks.gpu.settings import NUM_CLASSES
from pipelines.budget.plan import Plan, plan
from pipelines.budget.probe_process import Probe, Prober

_PRECISION = "bf16"
_STEPS = 2
_GB = 10**9
# What the processes of a toy run take at most.
_TOY_GB = 3


def run(work: Workplace) -> None:
    """Plans for two budgets, from the same measurements; each is then trained under its own budget."""
    config = config_of(work, _PRECISION, ratio=1.0)
    if work.toy:  # each candidate is a process
        config = config_of(work, "fp32", ratio=1.0, batch=1)
    budgets = (_TOY_GB,) if work.toy else (12, 24)
    prober = Prober(config, NUM_CLASSES, steps=_STEPS, limit_bytes=max(budgets) * _GB)
    known: dict[tuple[int, int], Probe] = {}

    def measure(clips: int, micro_batch: int) -> Probe:
        if (clips, micro_batch) not in known:
            known[clips, micro_batch] = prober(clips, micro_batch)
        return known[clips, micro_batch]

    for budget in budgets:
        begin = time.perf_counter()
        chosen = plan(config, budget * _GB, _STEPS, measure)
        trained = replace(prober, limit_bytes=budget * _GB, steps=_STEPS + 1)(
            chosen.clips, chosen.micro_batch
        )
        row = {
            "budget_gb": budget,
            "r": chosen.ratio,
            "clips": chosen.clips,
            "micro_batch": chosen.micro_batch,
            "peak_gb": chosen.peak_bytes / _GB,
            "device_gb": None if trained.peak_bytes is None else trained.peak_bytes / _GB,
            "trains": trained.peak_bytes is not None,
            "probes": len(chosen.probes),
            "seconds": time.perf_counter() - begin,
        }
        work.results.add("plan", row)
        held = row["trains"] and row["device_gb"] <= budget
        work.results.check(f"plan.{budget}GB", held, row["device_gb"], budget, "GB")
        _compare_with_line(work, budget, chosen)


def _compare_with_line(work: Workplace, budget_gb: float, chosen: Plan) -> None:
    """Hold the plan against the line of the section `memory`, which knows tensors alone.

    What CUDA and torch hold beside tensors is taken from the plan's own measurement.
    """
    name, path = f"plan.{budget_gb}GB.line", work.folder / FIT_FILE
    fit = json.loads(path.read_text()).get(_PRECISION) if path.exists() else None
    if fit is None:
        work.results.check(name, None, note="the section memory left no line")
        return
    tensors_gb = fit["base_gb"] + fit["gb_a_clip"] * chosen.clips * chosen.micro_batch
    beside_gb = chosen.peak_bytes / _GB - tensors_gb
    most = (budget_gb - beside_gb - fit["base_gb"]) / (fit["gb_a_clip"] * chosen.micro_batch)
    expected = max(0, min(math.floor(most), chosen.num_clips))
    held = abs(chosen.clips - expected) <= 1
    work.results.check(name, held, chosen.clips, expected, "clips", needs_cuda=True)
