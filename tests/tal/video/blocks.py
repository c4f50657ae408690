"""Videos of coarse random pictures: every one differs, and a codec keeps them apart."""

import numpy as np

from tal.video.writer import VideoWriter


def write_blocks(path, fps, count, rng, side, blocks=(4, 4)):
    """``count`` pictures of ``blocks`` (rows, columns), squares of ``side`` pixels; returns the path."""
    with VideoWriter(path, fps, gop=10) as writer:
        for _ in range(count):
            colours = rng.integers(0, 255, (*blocks, 3), np.uint8)
            writer.add(np.kron(colours, np.ones((side, side, 1), np.uint8)))
    return path
