"""PyAV against decord and torchcodec behind the same interface: `python -m benchmarks.video_readers`.

H.264 at three distances of key frames and two sizes, made on the spot. Extraction reads a video from its
start to its end; training opens it anew for each random clip of 16 frames. Times are of the processor, which
other work on the machine disturbs little; medians of turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import pandas as pd

from pipelines.shared import console
from tal.video import open_video

_SECONDS, _FPS, _LENGTH, _CLIPS, _TURNS = 60, 10.0, 16, 16, 3
_READERS = ("pyav", "decord", "torchcodec")


def make(path: Path, width: int, height: int, gop: int) -> Path:
    """A texture that moves, two B-frames, key frames exactly ``gop`` apart."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (height // 2, width // 2, 3), dtype=np.uint8)
    texture = np.repeat(np.repeat(texture, 4, 0), 4, 1)
    options = {"preset": "fast", "g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "bf": "2"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(_SECONDS * 25):
            top, left = number % height, 2 * number % width
            picture = np.ascontiguousarray(texture[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def sequential_s(path: Path, reader: str, size: int) -> float:
    begun = time.process_time()
    with open_video(path, reader=reader) as video:
        for start in range(0, video.num_frames(_FPS), _LENGTH):
            video.frames(np.arange(start, start + _LENGTH), _FPS, size=size)
    return time.process_time() - begun


def random_s(path: Path, reader: str, size: int) -> float:
    """A clip, its opening included."""
    starts = np.random.default_rng(1).integers(0, int(_SECONDS * _FPS) - _LENGTH, _CLIPS)
    begun = time.process_time()
    for start in starts:
        with open_video(path, reader=reader) as video:
            video.frames(np.arange(start, start + _LENGTH), _FPS, size=size)
    return (time.process_time() - begun) / _CLIPS


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for width, height, size in ((160, 120, 112), (640, 360, 128)):
            for gop in (12, 50, 250):
                path = make(Path(folder) / f"{width}_{gop}.mp4", width, height, gop)
                for reader in _READERS:
                    open_video(path, reader=reader).close()  # the index is kept from here on
                times: dict[tuple[str, str], list[float]] = defaultdict(list)
                for turn in range(_TURNS):
                    for reader in _READERS[:: 1 if turn % 2 else -1]:
                        times["sequential", reader].append(sequential_s(path, reader, size))
                        times["random", reader].append(random_s(path, reader, size))
                ms = {key: 1e3 * statistics.median(values) for key, values in times.items()}
                row: dict[str, object] = {"video": f"{width}x{height}", "GOP": gop}
                for what in ("sequential", "random"):
                    row |= {f"{what}, {b} (ms)": ms[what, b] for b in _READERS}
                    row |= {f"{what}: {b} / pyav": ms[what, b] / ms[what, "pyav"] for b in _READERS[1:]}
                rows.append(row)
    title = f"{_SECONDS} s read in order; one random clip of {_LENGTH} frames; {_FPS:g} frames a second"
    console.print_table(pd.DataFrame(rows), title=title, digits=2)


if __name__ == "__main__":
    main()
