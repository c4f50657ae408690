"""Which device to compute on."""

from __future__ import annotations

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
