"""Section env: the machine, and what torch does on it before anyone has told it."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from typing import Any

import torch

from benchmarks.gpu.results import Workplace
from tal.shared.cores import usable_cores

_SHARED_MEMORY = "/dev/shm"


def run(work: Workplace) -> None:
    """Note card, versions, cores, shared memory and float32's meaning."""
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cores": usable_cores(),
        "shm_gb": _shared_memory_gb(),
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "torchcodec": _version("torchcodec"),
        "gpu": None,
        "gpus": torch.cuda.device_count(),
    }
    if work.on_cuda:
        card = torch.cuda.get_device_properties(work.where)
        free, total = torch.cuda.mem_get_info(work.where)
        facts |= {
            "gpu": card.name,
            "gpu_gb": round(total / 1e9, 1),
            "gpu_used_gb": round((total - free) / 1e9, 2),  # by this process's context, and by others
            "capability": f"{card.major}.{card.minor}",
            "driver": _driver(),
        }
    work.results.put("env", facts)


def _shared_memory_gb() -> float | None:
    try:
        return round(shutil.disk_usage(_SHARED_MEMORY).total / 1e9, 2)
    except OSError:  # not Linux
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """The driver's version as its own tool tells it; torch does not."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.split("\n", 1)[0].strip()
