"""The record of an epoch: mean losses, times, drift, and how old the memory is."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipelines.train.step_record import StepRecord
from tal.memory.sampler import TrainingVideo
from tal.memory.store_reader import RowStore


@dataclass
class EpochTotals:
    """Sums over an epoch's steps (of this process)."""

    steps: int = 0
    nonfinite: int = 0
    overflows: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    drift: list[float] = field(default_factory=list)
    fresh_rows: int = 0
    stored_rows: int = 0
    decode_s: float = 0.0
    encode_s: float = 0.0
    wait_s: float = 0.0
    write_wait_s: float = 0.0

    def add(self, record: StepRecord, wait_s: float) -> None:
        """Take in a step, and the seconds that it waited for its batches."""
        self.steps += 1
        self.wait_s += wait_s
        self.decode_s += record.decode_s
        self.encode_s += record.encode_s
        if not record.finite:
            self.overflows += record.overflow
            self.nonfinite += not record.overflow
            return
        self.fresh_rows += record.fresh_rows
        self.stored_rows += record.stored_rows
        self.drift += record.drift
        for name, value in record.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value

    def report(self) -> dict[str, Any]:
        """Means of losses over finite steps; seconds that decoding, encoding and waiting took; drift as mean
        and 5 % quantile of cosines."""
        good = max(1, self.steps - self.nonfinite - self.overflows)
        values: dict[str, Any] = {name: total / good for name, total in self.losses.items()}
        values |= {
            "steps": self.steps,
            "nonfinite": self.nonfinite,
            "overflows": self.overflows,
            "fresh_rows": self.fresh_rows,
            "stored_rows": self.stored_rows,
            "decode_s": self.decode_s,
            "encode_s": self.encode_s,
            "wait_s": self.wait_s,
            "write_wait_s": self.write_wait_s,
        }
        if self.drift:
            values["drift_cosine"] = float(np.mean(self.drift))
            values["drift_cosine_p05"] = float(np.quantile(self.drift, 0.05))
        return values


def memory_report(
    store: RowStore, videos: Sequence[TrainingVideo], step: int, epoch_start: int
) -> dict[str, Any]:
    """Ages in steps of the rows of some videos after optimizer step ``step``, and the shares refreshed.

    ``share_refreshed``: rows written in this epoch (after step ``epoch_start``); ``share_never``: rows that
    no step has written since extraction.
    """
    written = np.concatenate([store.ledger(video.id, 0, video.num_rows)["step"] for video in videos])
    age = step - np.maximum(written, 0)
    low, middle, high = np.quantile(age, (0.1, 0.5, 0.9))
    return {
        "age_mean": float(age.mean()),
        "age_p10": float(low),
        "age_median": float(middle),
        "age_p90": float(high),
        "age_max": int(age.max()),
        "share_refreshed": float((written > epoch_start).mean()),
        "share_never": float((written <= 0).mean()),
    }


def peak_memory_mib(device: torch.device) -> float:
    """CUDA: most allocated by torch; else the process's largest resident size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
