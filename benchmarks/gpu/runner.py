"""Run sections one after another, each in a process with a deadline; a fault in one costs that one alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.report import Report
from benchmarks.gpu.sections import Section
from tal.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# With less than this share of its time left a section is not begun.
_LEAST = 0.25
# Lines of what a section that failed had said that the report keeps: a traceback with what led to it.
_KEPT_LINES = 60


@dataclass(frozen=True)
class Outcome:
    """How a section's process ended.

    Attributes
    ----------
    fault
        in words; empty where there is none.
    said
        its last lines, where there is a fault.
    """

    seconds: float
    fault: str
    figures: dict[str, Any]
    checks: list[dict[str, Any]]
    said: list[str]


def run_sections(
    sections: Sequence[Section],
    report: Report,
    device: str,
    golden: Path,
    seconds: float,
    tell: Callable[[str], object] = print,
) -> None:
    """Fill and write the report.

    Parameters
    ----------
    seconds
        that all sections may take together.
    tell
        called with each line about a section that is over.
    """
    environment = child_environment(device)
    inside = "cpu" if device == "cpu" else "cuda:0"
    with tempfile.TemporaryDirectory(prefix="longtal-gpu-") as name:
        folder = Path(name)
        for section in sections:
            left = seconds - report.passed_s
            if left < _LEAST * section.seconds:
                report.skip(section.name, "time")
            else:
                request = {
                    "module": section.where,
                    "device": inside,
                    "folder": str(folder),
                    "golden": str(golden.resolve()),
                    "results": str(folder / f"{section.name}.json"),
                }
                report.take(section.name, run_child(request, min(section.limit_s, left), environment))
            for line in report.told(section.name):
                tell(line)


def run_child(request: dict[str, str], limit_s: float, environment: Mapping[str, str]) -> Outcome:
    """One section, killed with all that it started when its time is up."""
    begin = time.monotonic()
    results = Path(request["results"])
    log_path = results.with_suffix(".log")
    fault = ""
    with log_path.open("w+b") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.child"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            child.communicate(json.dumps(request).encode() + b"\n", timeout=limit_s)
        except subprocess.TimeoutExpired:
            fault = f"killed after {limit_s:.0f} s, its deadline"
        finally:  # also decoders that outlive it, and when this process is interrupted
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    said = log_path.read_text(errors="replace").strip().splitlines()[-_KEPT_LINES:]
    if not fault and child.returncode:
        fault = f"{_end(child.returncode)}: {said[-1][:300] if said else 'no message'}"
    found: dict[str, Any] = {"figures": {}, "checks": []}
    if results.exists():
        found = json.loads(results.read_text())
    seconds = time.monotonic() - begin
    return Outcome(seconds, fault, found["figures"], found["checks"], said if fault else [])


def child_environment(device: str) -> dict[str, str]:
    """Variables of a section's process: the chosen card is its first, on a CPU it has none.

    So ``cuda:0`` and ``cuda`` mean the chosen one there, and in every process that the section starts.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if device == "cpu":
        return environment | {"CUDA_VISIBLE_DEVICES": ""}
    number = _number(device)
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = known.split(",") if known else [str(index) for index in range(_count())]
    return environment | {"CUDA_VISIBLE_DEVICES": ",".join([cards.pop(number), *cards])}


def require_device(device: str) -> None:
    """Raise ConfigError unless the device is there; nothing is put on it, its memory is the sections'."""
    if device == "cpu":
        return
    number, count = _number(device), _count()
    if number >= count:
        raise ConfigError(
            f"--device {device}: torch finds {count} CUDA devices here; on a CPU --device cpu runs the same "
            f"sections at a toy size"
        )


def _number(device: str) -> int:
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ConfigError(f"--device {device!r}: write cpu, cuda or cuda:1")
    return int(number or 0)


def _count() -> int:
    import torch

    return torch.cuda.device_count()


def _end(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
