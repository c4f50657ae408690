"""Which device to compute on, and how precisely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tal.errors import ConfigError


def choose_device(name: str, apple: bool = False) -> torch.device:
    """The device of this name; ``auto``: CUDA, else the CPU. ConfigError for one that is not there.

    ``apple``: "auto" may also be Apple's GPU, on which encoders run and decoders were not tried. A CUDA
    device becomes the current one of this thread: what torch does without naming a device is meant for it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if apple and torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r} is not available here: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and device.index is not None:  # without a number it is the current one
        torch.cuda.set_device(device)
    return device


def set_float32(precision: str) -> None:
    """What float32 means on CUDA from here on, for the whole process: TF32 with ``tf32``, else IEEE's.

    torch's own default is one for convolutions (TF32) and another for products.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


@contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """A block of inference in a precision (`tal.shared.defaults.PrecisionName`); `set_float32` stays."""
    set_float32(precision)
    reduced = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    with torch.autocast(device.type, dtype=reduced, enabled=reduced is not None):
        yield
