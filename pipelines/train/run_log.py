"""The log of a run: log.jsonl, TensorBoard, and a line on the console every few steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.shared.console import log
from pipelines.shared.files import write_text
from pipelines.shared.run_folder import parse_records, record_kind
from tal.annotations.clock import clock

# steps done, steps in all, loss
OnStep = Callable[[int, int, float], None]


class RunLog:
    """Appends records ``{"kind": "step" | "epoch" | "validation" | …}`` to RUN/log.jsonl and to TensorBoard.

    Parameters
    ----------
    folder
        the run's; None for processes other than the main one, which log nothing.
    from_step
        a resumed run drops what an interrupted one logged after this step, so that no step is there twice.
    """

    def __init__(self, folder: Path | None, from_step: int = 0) -> None:
        self._file = self._board = None
        if folder is None:
            return
        path = folder / "log.jsonl"
        if path.exists():
            _cut(path, from_step)
        self._file = path.open("a", encoding="utf-8", buffering=1)
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(
            str(folder / "tensorboard"), purge_step=from_step + 1 if from_step else None
        )

    def write(self, kind: str, step: int, **values: Any) -> None:
        """One record; numbers also go to TensorBoard as ``kind/name``."""
        if self._file is None or self._board is None:
            return
        record = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(json.dumps(record, default=float) + "\n")
        group = {"step": "train", "validation": "val"}.get(kind, kind)
        for name, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                self._board.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        if self._file is not None and self._board is not None:
            self._file.close()
            self._board.close()


def _cut(path: Path, from_step: int) -> None:
    """Keep records up to a step; a line cut short by a crash goes too."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line, record in parse_records(lines) if record and record["step"] <= from_step]
    write_text(path, "".join(line + "\n" for line in kept), overwrite=True)


def read_log(folder: str | Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Records of a run, of one kind or all; damaged lines are left out."""
    lines = (Path(folder) / "log.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    records = [record for _, record in parse_records(lines) if record]
    return [r for r in records if kind is None or record_kind(r) == kind]


class Pace:
    """Steps a second and time left, over the steps since the last look."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.perf_counter()
        self.rate = 0.0

    def look(self, step: int) -> float:
        """The rate after ``step`` steps, smoothed over earlier looks."""
        now = time.perf_counter()
        if step > self._step:
            rate = (step - self._step) / max(now - self._time, 1e-9)
            self.rate = rate if self.rate == 0 else 0.7 * self.rate + 0.3 * rate
            self._step, self._time = step, now
        return self.rate

    def skip(self, step: int) -> None:
        """Leave out the time since the last look, which was not spent on steps (validation, checkpoints)."""
        self._step, self._time = step, time.perf_counter()


def say_step(record: dict[str, Any], epochs: int, total: int, rate: float) -> None:
    """The console's line of a step."""
    left = clock((total - record["step"]) / rate) if rate else "?"
    parts = [
        f"epoch {record['epoch'] + 1}/{epochs}",
        f"step {record['step']}/{total}",
        f"loss {record['loss']:.4f}",
    ]
    parts += [f"{name} {record[name]:.3f}" for name in record["parts"]]
    parts.append(f"lr {record['lr']:.2e}")
    if record.get("fresh_rows"):
        parts.append(
            f"rows {record['fresh_rows']} fresh {record['stored_rows']} stored, age {record['age_mean']:.0f}"
        )
    parts.append(f"{rate:.2f} it/s, ETA {left}")
    log.info("  ".join(parts))
