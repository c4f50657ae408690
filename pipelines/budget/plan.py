"""`longtal plan`: the largest share of fresh clips, then the largest micro-batch, that fits a memory budget.

This is how the paper chose r. Each candidate trains for a few steps in a process of its own (`probe`).
Memory grows linearly with the number of clips, so that a line through the measured points says where to
look next: a handful of candidates is enough.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.budget.probe_process import Measure, Probe, Prober, clips_of_window, ratio_of
from pipelines.config import RunConfig
from tal.errors import ConfigError, LongtalError

_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


class PlanError(LongtalError, ValueError):
    """Nothing fits."""


@dataclass(frozen=True)
class Plan:
    """What fits best.

    Attributes
    ----------
    ratio
        ``memory.ratio``; None: the run reads stored rows only.
    clips, num_clips
        clips of a window that are encoded, of how many.
    micro_batch
        windows at once.
    batch_size, accumulate
        windows an optimizer step, and in how many parts.
    peak_bytes
        peak memory.
    optimizer_step_s
        seconds per optimizer step, decoding left out.
    probes
        all candidates, as measured.
    """

    ratio: float | None
    clips: int
    num_clips: int
    micro_batch: int
    batch_size: int
    accumulate: int
    peak_bytes: float
    optimizer_step_s: float
    probes: list[Probe]

    @property
    def sets(self) -> list[str]:
        """Settings for ``--set``."""
        ratio = [f"memory.ratio={self.ratio}"] if self.ratio is not None else []
        return [*ratio, f"train.batch_size={self.batch_size}", f"train.accumulate={self.accumulate}"]


def parse_bytes(text: str) -> int:
    """Size in bytes of `12GB`, `12G` (10^9), `11.5GiB` (2^30) or plain bytes.

    Raises
    ------
    ConfigError
        for anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?\s*", text.upper())
    if match is None or not float(match.group(1)):
        raise ConfigError(f"--memory {text!r}: write a size such as 12GB, 11.5GiB or 800MB")
    return int(float(match.group(1)) * _UNITS[match.group(2) or ""])


def plan(config: RunConfig, budget_bytes: int, steps: int = 3, measure: Measure | None = None) -> Plan:
    """Find what fits; the number of windows per optimizer step (``train.batch_size``) stays as it is.

    A decoder whose losses need the whole batch gets all of its windows at once, and the share that fits then.

    Parameters
    ----------
    budget_bytes
        peak memory allowed: of the process on a CPU, of torch's allocations on CUDA; loader workers need
        their own.
    steps
        training steps per candidate.

    Raises
    ------
    PlanError
        not even one clip of one window (or of all, for such a decoder) fits.
    ProbeError
        a candidate fails for a reason other than memory.
    """
    num_clips = clips_of_window(config)
    measure = measure or _prober(config, budget_bytes, steps)
    probes: list[Probe] = []

    def try_out(clips: int, micro_batch: int) -> Probe:
        probe = measure(clips, micro_batch)
        probes.append(probe)
        return probe

    least = min(1, num_clips)
    windows = config.train.batch_size if config.needs_whole_batch else 1
    first = try_out(least, windows)
    if not fits(first, budget_bytes):
        what = "one window" if windows == 1 else f"a step of {windows} windows, which cannot be accumulated,"
        what = f"one clip of {what}" if num_clips else what
        shown = f" takes {first.peak_bytes / 1e9:.2f} GB" if first.peak_bytes else " does not fit"
        raise PlanError(
            f"{what}{shown}, the budget is {budget_bytes / 1e9:.2f} GB: allow more, or make pictures "
            f"(encoder.crop), clips (encoder.clip_frames) or the window (window.num_rows) smaller, or set "
            f"encoder.checkpointing=true"
        )
    best = first
    if num_clips > 1:
        best = largest(1, num_clips, lambda clips: try_out(clips, windows), first, budget_bytes)
    for size in range(windows + 1, config.train.batch_size + 1):
        if config.train.batch_size % size:
            continue
        probe = try_out(best.clips, size)
        if not fits(probe, budget_bytes):
            break
        best = probe
    assert best.peak_bytes is not None and best.step_s is not None
    accumulate = config.train.batch_size // best.micro_batch
    return Plan(
        ratio=ratio_of(best.clips, num_clips) if num_clips else None,
        clips=best.clips,
        num_clips=num_clips,
        micro_batch=best.micro_batch,
        batch_size=config.train.batch_size,
        accumulate=accumulate,
        peak_bytes=best.peak_bytes,
        optimizer_step_s=accumulate * best.step_s,
        probes=probes,
    )


def fits(probe: Probe, budget_bytes: float) -> bool:
    """Whether a candidate ran, within the budget."""
    return probe.peak_bytes is not None and probe.peak_bytes <= budget_bytes


def largest(low: int, high: int, measure: Callable[[int], Probe], first: Probe, budget_bytes: float) -> Probe:
    """The probe with the most clips in [low, high] that fits; ``first`` is that of ``low`` and fits.

    A straight line through the measurements says where to probe next; each probe narrows the interval, as
    in a bisection.
    """
    best, wall = first, high + 1
    points = {low: first.peak_bytes or 0.0}
    while wall - best.clips > 1:
        guess = (
            _on_the_line(points, budget_bytes, best.clips, wall) if len(points) > 1 else min(low + 2, high)
        )
        probe = measure(min(wall - 1, max(best.clips + 1, guess)))
        if probe.peak_bytes is not None:
            points[probe.clips] = probe.peak_bytes
        if fits(probe, budget_bytes):
            best = probe
        else:
            wall = probe.clips
    return best


def _on_the_line(points: dict[int, float], budget_bytes: float, low: int, high: int) -> int:
    """Where the line through the two outermost points meets the budget; the middle when it does not rise."""
    (a, at_a), (b, at_b) = min(points.items()), max(points.items())
    if at_b <= at_a:
        return (low + high) // 2
    return math.floor(a + (budget_bytes - at_a) * (b - a) / (at_b - at_a))


def _prober(config: RunConfig, budget_bytes: int, steps: int) -> Prober:
    channels = 0
    if not config.end_to_end:
        from featstore import FeatureStore

        with FeatureStore.open(config.data.store) as store:
            channels = store.spec.channels
    return Prober(config, _num_classes(config), channels, steps, budget_bytes)


def _num_classes(config: RunConfig) -> int:
    """Classes of the annotations; 20 where there are none to read (it matters little).

    What keeps `longtal train` from learning or measuring is a warning here.
    """
    if not config.data.annotations:
        return 20
    from pipelines.data.run_annotations import read_run_annotations
    from pipelines.train.findings import Findings
    from pipelines.train.preflight.actions import check_actions

    annotated = read_run_annotations(config.data, config.learns_one_class)
    findings, doubts = Findings(), Findings()
    check_actions(annotated, doubts)
    with findings.collected(only_warn=True):
        doubts.settle()
    findings.settle()
    return max(1, len(annotated.whole.labels))
