"""What CUDA does with rows on their way to the host, acted out on the CPU: they are poison until waited for.

The newest copy lands first, whichever is waited for: a reader that looks at one it did not wait for, or
trusts the order, finds NaN.
"""

from __future__ import annotations

import threading

import numpy as np
from torch import Tensor


class LateCopy:
    """Stands for `tal.device.HostCopy`; ``flying`` has those that nobody waited for yet."""

    flying: list[LateCopy] = []  # noqa: RUF012 - what is in the air is known to all of them
    _lock = threading.Lock()

    def __init__(self, tensor: Tensor) -> None:
        self._numbers = tensor.detach().numpy().copy()
        self.values = np.full_like(self._numbers, np.nan)
        self.landed = False
        with self._lock:
            self.flying.append(self)

    def wait(self) -> None:
        """Land this copy, behind those that were made after it."""
        with self._lock:
            while not self.landed:
                newest = self.flying.pop()
                newest.values[...] = newest._numbers
                newest.landed = True
