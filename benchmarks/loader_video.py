"""Random clips of a long video against decoding from its start: `python -m benchmarks.loader_video`.

Yardstick, same run: PyAV decoding from the first picture to the clip's last, which is what reading without
an index costs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import av
import numpy as np
import pandas as pd

from benchmarks.extract import make_videos
from pipelines.shared import console
from tal.video import decord_decoder, open_video, torchcodec_decoder

_SECONDS, _CLIPS, _FPS, _LENGTH = 60, 12, 10.0, 16


def main() -> None:
    rng = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = make_videos(Path(folder), 1, _SECONDS)[0]
        starts = rng.integers(0, int(_SECONDS * _FPS) - _LENGTH, _CLIPS)
        begun = time.perf_counter()
        for start in starts:
            with av.open(str(path)) as container:
                for frame in container.decode(video=0):
                    if frame.time is not None and frame.time >= (start + _LENGTH) / _FPS:
                        break
        yardstick_s = (time.perf_counter() - begun) / _CLIPS
        others = {"decord": decord_decoder, "torchcodec": torchcodec_decoder}
        for reader in ("pyav", *(name for name, other in others.items() if not other.why_missing())):
            begun = time.perf_counter()
            open_video(path, reader=reader).close()
            first_s = time.perf_counter() - begun
            begun = time.perf_counter()
            for start in starts:
                with open_video(path, reader=reader) as video:
                    video.frames(np.arange(start, start + _LENGTH), _FPS, size=128)
            clip_s = (time.perf_counter() - begun) / _CLIPS
            rows.append(
                {
                    "reader": reader,
                    "first opening (ms)": 1e3 * first_s,
                    "open and read a clip (ms)": 1e3 * clip_s,
                    "from the start (ms)": 1e3 * yardstick_s,
                    "ratio": clip_s / yardstick_s,
                }
            )
    console.print_table(pd.DataFrame(rows), title=f"clips of {_LENGTH} frames, {_SECONDS} s of video, GOP 50")


if __name__ == "__main__":
    main()
