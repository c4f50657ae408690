"""A video whose pictures do not come at a constant rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

# Milliseconds between pictures, over and over.
STEPS_MS = (33, 50, 17, 120, 41, 8, 250)


def make_varying(path: Path, num_pictures: int = 60, codec: str = "libx264", **options: str) -> Path:
    """Pictures whose brightness tells their number."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"g": "10", "bf": "0", **options})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stamp = 0
        for number in range(num_pictures):
            picture = np.full((64, 96, 3), 20 + 3 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            stamp += STEPS_MS[number % len(STEPS_MS)]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
