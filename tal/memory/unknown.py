"""Stretches of a video in which nobody looked for a class: neither action nor background is learnt there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.memory.windows import Window


@dataclass(frozen=True)
class Unknown:
    """Where it is not known whether an action of a class goes on.

    Attributes
    ----------
    stretches
        float64 [M, 2] in row positions of the video; rows between both ends, these included.
    labels
        int64 [M]: the class of each stretch.
    num_classes
        how many classes there are.
    """

    stretches: NDArray[np.float64]
    labels: NDArray[np.int64]
    num_classes: int

    def known_in(self, window: Window) -> NDArray[np.bool_] | None:
        """What is known of each row of a window, bool [classes, window rows]; None: all of it."""
        rows = np.arange(window.start_row, window.start_row + window.num_rows)
        known = np.ones((self.num_classes, window.num_rows), bool)
        for (start, end), label in zip(self.stretches, self.labels, strict=True):
            known[label, (rows >= start) & (rows <= end)] = False
        visible = known[:, window.valid]
        return None if visible.all() else known
