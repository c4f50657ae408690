"""Ask for the cost of a training step: what `longtal plan` and `longtal init` do.

Each answer comes from a process of its own (`pipelines.budget.probe`), whose peak memory is then that of one
candidate alone.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.shared import console
from tal.errors import LongtalError


class ProbeError(LongtalError, RuntimeError):
    """A candidate could not be measured, for a reason other than memory."""


@dataclass(frozen=True)
class Probe:
    """One candidate and what it costs.

    Attributes
    ----------
    clips
        clips of a window that are encoded; 0: none, the run reads stored rows only.
    micro_batch
        windows at once.
    peak_bytes
        peak memory; None: it did not fit.
    tries_s
        seconds of each step that was timed, forward, backward and the optimizer's move.
    """

    clips: int
    micro_batch: int
    peak_bytes: float | None
    tries_s: tuple[float, ...] = ()

    @property
    def step_s(self) -> float | None:
        """The best try: whatever else the machine does can only make a step slower."""
        return min(self.tries_s, default=None)


# (clips of a window, windows at once) -> what it costs
Measure = Callable[[int, int], Probe]


@dataclass(frozen=True)
class Prober:
    """Measures candidates of one configuration; call it with clips of a window and windows at once.

    Attributes
    ----------
    num_classes
        classes to tell apart.
    channels
        of stored rows, for runs that read nothing else; an encoder has its own.
    steps
        steps a candidate trains, two or more; the first is of one window and not timed.
    limit_bytes
        far beyond this a candidate is stopped; None: where the machine ends.
    patience_s
        seconds after which no further step begins once two are done.
    """

    config: RunConfig
    num_classes: int
    channels: int = 0
    steps: int = 3
    limit_bytes: int | None = None
    patience_s: float | None = None

    def __call__(self, clips: int, micro_batch: int) -> Probe:
        """Measure one candidate.

        Raises
        ------
        ProbeError
            when it fails for a reason other than memory.
        """
        num_clips = clips_of_window(self.config)
        console.log.info("trying %d of %d clips, %d windows at once", clips, num_clips, micro_batch)
        child = subprocess.run(
            [sys.executable, "-m", "pipelines.budget.probe"],
            input=json.dumps(self.request(clips, micro_batch)) + "\n",
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
            check=False,
        )
        if _ran_out_of_memory(child):
            return Probe(clips, micro_batch, None)
        if child.returncode:
            raise ProbeError(f"{clips} clips, {micro_batch} windows could not be measured: {_why(child)}")
        answer = json.loads(child.stdout.strip().splitlines()[-1])
        return Probe(clips, micro_batch, answer.get("peak_bytes"), tuple(answer.get("tries_s", ())))

    def request(self, clips: int, micro_batch: int) -> dict[str, Any]:
        """What the process is asked, see `pipelines.budget.probe.main`."""
        tree = self.config.model_dump(mode="json")
        tree["train"] |= {"batch_size": micro_batch, "accumulate": 1}
        if num_clips := clips_of_window(self.config):
            tree["memory"]["ratio"] = ratio_of(clips, num_clips)
        return {
            "config": tree,
            "channels": self.channels,
            "num_classes": self.num_classes,
            "steps": self.steps,
            "limit_bytes": self.limit_bytes,
            "patience_s": self.patience_s,
        }


def clips_of_window(config: RunConfig) -> int:
    """Clips of a window; 0 for a run on stored rows alone."""
    if not config.end_to_end or config.encoder is None:
        return 0
    return config.encoder.grid.whole_clips(config.window.num_rows)


def ratio_of(clips: int, num_clips: int) -> float:
    """The ratio of four decimals that gives this many clips (training rounds down)."""
    return math.ceil(1e4 * clips / num_clips) / 1e4


def _ran_out_of_memory(child: subprocess.CompletedProcess[str]) -> bool:
    """Whether the system, or C++ code that got no memory, ended the process before it could say so."""
    if child.returncode == -signal.SIGKILL:
        return True
    return child.returncode == -signal.SIGABRT and "bad_alloc" in child.stderr


def _why(child: subprocess.CompletedProcess[str]) -> str:
    last = (child.stderr.strip().splitlines() or ["no message"])[-1]
    if child.returncode < 0:
        return f"the process ended by {signal.Signals(-child.returncode).name}: {last}"
    return last
